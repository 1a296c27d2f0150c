# The queue alone, by SNS, for a daemon that runs on EC2 (deploy/systemd).

terraform {
  required_version = ">= 1.5"
}

provider "aws" {
  region = "eu-central-1"
}

variable "alarm_topic_arn" {
  description = "The SNS topic that alarms are sent to."
  type        = string
}

module "enrolld" {
  source = "../.."

  notification  = "sns"
  alarm_actions = [var.alarm_topic_arn]
}

output "queue_url" {
  description = "queue_url of the configuration."
  value       = module.enrolld.queue_url
}
