# What another account, or another region, needs so that a daemon elsewhere serves its groups: a topic that the hooks name, which the account of the queue
# may subscribe its queue to, and the role that the daemon assumes here.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
  }
}

data "aws_caller_identity" "here" {}

resource "aws_sns_topic" "notifications" {
  name = "enrolld"
  # AWS's own key: whoever may publish as a role of this account may use it.
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_policy" "notifications" {
  arn = aws_sns_topic.notifications.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # The owner of the queue subscribes it: were it anybody else, the confirmation would be sent to the queue.
      {
        Sid       = "TheQueueMaySubscribe"
        Effect    = "Allow"
        Principal = { AWS = split(":", var.queue_arn)[4] }
        Action    = "sns:Subscribe"
        Resource  = aws_sns_topic.notifications.arn
        Condition = { StringEquals = { "sns:Protocol" = "sqs", "sns:Endpoint" = var.queue_arn } }
      },
      {
        Sid       = "OnlyByTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.notifications.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_iam_role" "notification" {
  name_prefix = "enrolld-notify-"
  description = "Auto Scaling sends lifecycle notifications to enrolld's topic as this role"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "autoscaling.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.here.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "notification" {
  name = "notify"
  role = aws_iam_role.notification.id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sns:Publish", Resource = aws_sns_topic.notifications.arn }]
  })
}

resource "aws_iam_role" "daemon" {
  count       = var.daemon == null ? 0 : 1
  name        = var.daemon.role_name
  description = "enrolld, the daemon, when it serves the groups of this account"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = var.daemon.role_arn }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "sts:ExternalId" = var.daemon.external_id }
        StringLike   = { "sts:RoleSessionName" = "enrolld-*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "daemon" {
  count  = var.daemon == null ? 0 : 1
  name   = "enrolld"
  role   = aws_iam_role.daemon[0].id
  policy = var.daemon.policy
}
