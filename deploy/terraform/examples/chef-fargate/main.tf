# The queue, the daemon on Fargate and an example group. enrolld.toml is yours, and agent.sh, which sets the instances' agent up and runs it. The others are
# printed from these:
#
#   enrolld policy --config enrolld.toml --output json | jq '.policies[0].document' > worker.json
#   enrolld policy --config enrolld.toml --instance --launch-kit --output json | jq '.policies[] | select(.route == "web").document' > instances.json
#   enrolld launch-kit --config enrolld.toml --route web --agent "$(cat agent.sh)" > user-data.sh

terraform {
  required_version = ">= 1.5"
}

provider "aws" {
  region = "eu-central-1"
}

variable "image" {
  description = "The image that deploy/container/Dockerfile makes."
  type        = string
}

variable "image_id" {
  description = "The instances' image."
  type        = string
}

variable "secret_arn" {
  description = "The secret, a JSON object, that has the daemon's own key for the server."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Its subnets, in two zones or more."
  type        = list(string)
}

variable "security_group_ids" {
  description = "The instances' security groups."
  type        = list(string)
}

module "enrolld" {
  source = "../.."

  daemon = {
    image         = var.image
    configuration = file("${path.module}/enrolld.toml")
    policy        = file("${path.module}/worker.json")
    vpc_id        = var.vpc_id
    subnet_ids    = var.subnet_ids
    secrets       = { "client-key.pem" = "${var.secret_arn}:client_key::" }
  }
}

module "group" {
  source = "../../group"

  name               = "web-blue"
  role_name          = "web-instances"
  policy             = file("${path.module}/instances.json")
  image_id           = var.image_id
  subnet_ids         = var.subnet_ids
  security_group_ids = var.security_group_ids
  user_data          = file("${path.module}/user-data.sh")

  notification_target_arn = module.enrolld.notification_target_arn
  notification_role_arn   = module.enrolld.notification_role_arn

  # Made after the daemon and destroyed before it: an instance that comes or goes is held until a worker has heard of it.
  depends_on = [module.enrolld]
}
