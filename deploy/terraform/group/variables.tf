variable "name" {
  description = "The group's name, which a route's groups must match."
  type        = string
}

variable "role_name" {
  description = "The name of the role that is made for the instances; its ARN is the route's owner_role."
  type        = string
}

variable "policy" {
  description = "What `enrolld policy --instance --launch-kit` prints for the route, as text."
  type        = string
}

variable "user_data" {
  description = "What `enrolld launch-kit` prints for the route, as text."
  type        = string
}

variable "image_id" {
  description = "An image with the AWS CLI, openssl and curl, and with chef-client or puppet-agent."
  type        = string
}

variable "root_device_name" {
  description = "What the image calls its root device: /dev/xvda for Amazon Linux and Debian, /dev/sda1 for Ubuntu and RHEL. Another would be a second disk without a size, and no launch."
  type        = string
  default     = "/dev/xvda"
}

variable "instance_type" {
  description = "The instances' type."
  type        = string
  default     = "t3.micro"
}

variable "min_size" {
  description = "The fewest instances."
  type        = number
  default     = 1
}

variable "max_size" {
  description = "The most instances."
  type        = number
  default     = 3
}

variable "subnet_ids" {
  description = "Subnets from which AWS's endpoints and the server can be reached."
  type        = list(string)
}

variable "security_group_ids" {
  description = "The instances' security groups, which must let them out to both."
  type        = list(string)
}

variable "heartbeat_timeout" {
  description = "Seconds. enrolld extends it for as long as it works on an action; without a worker an instance waits so long."
  type        = number
  default     = 3600
}

variable "notification_target_arn" {
  description = "The output of the same name of the module; null with eventbridge."
  type        = string
  default     = null
}

variable "notification_role_arn" {
  description = "The output of the same name of the module; null with eventbridge."
  type        = string
  default     = null
}
