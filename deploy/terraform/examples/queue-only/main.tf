# The queue, by SNS, for a daemon that runs on EC2 (deploy/systemd), with metrics, alarms and dashboard of its log.

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

variable "log_group_name" {
  description = "The log group that the machines' lines are brought to (deploy/systemd/fluent-bit.conf)."
  type        = string
  default     = "/enrolld/ec2"
}

module "enrolld" {
  source = "../.."

  notification  = "sns"
  alarm_actions = [var.alarm_topic_arn]

  log_group_name = var.log_group_name
}

output "queue_url" {
  description = "queue_url of the configuration."
  value       = module.enrolld.queue_url
}
