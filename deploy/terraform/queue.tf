# The queue that lifecycle notifications come in by, its dead-letter queue, the way from the hooks to it, and the document that prints keys.

locals {
  by_sns         = var.notification == "sns"
  by_eventbridge = var.notification == "eventbridge"
  queue_arn      = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}"
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })

  lifecycle {
    # Somebody may still owe a node its removal. README.md has how it is let go, and stays.
    prevent_destroy = true
  }
}

resource "aws_sqs_queue" "queue" {
  name                       = var.name
  visibility_timeout_seconds = var.visibility_timeout
  # The longest that Auto Scaling lets an instance wait is 48 hours; what is older than that is of no use.
  message_retention_seconds = 345600
  receive_wait_time_seconds = 20
  sqs_managed_sse_enabled   = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    # Every receive counts: a crash, a hand-back at a shutdown. Past it SQS moves the message with nobody completing its action.
    maxReceiveCount = 100
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.queue.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # A hook that names the queue sends as the role below, whose own policy allows it within this account.
  dynamic "statement" {
    for_each = concat(
      local.by_sns ? [{ sid = "FromTheTopic", topics = aws_sns_topic.notifications[*].arn }] : [],
      length(var.other_topic_arns) > 0 ? [{ sid = "FromOtherTopics", topics = var.other_topic_arns }] : [],
    )

    content {
      sid       = statement.value.sid
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.queue.arn]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = statement.value.topics
      }
    }
  }

  dynamic "statement" {
    for_each = aws_cloudwatch_event_rule.lifecycle[*].arn

    content {
      sid       = "FromTheRule"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.queue.arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [statement.value]
      }
    }
  }
}

resource "aws_sqs_queue_policy" "queue" {
  queue_url = aws_sqs_queue.queue.id
  policy    = data.aws_iam_policy_document.queue.json
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = aws_cloudwatch_event_rule.lifecycle[*].arn

    content {
      sid       = "FromTheRule"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.dead_letters.arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [statement.value]
      }
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.dead_letters.json
}

# What Auto Scaling sends as. The hooks of all groups in this account and region may share it.
resource "aws_iam_role" "notification" {
  count       = local.by_eventbridge ? 0 : 1
  name_prefix = "${substr(var.name, 0, 20)}-notify-"
  description = "Auto Scaling sends lifecycle notifications to enrolld's queue or topic as this role"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "autoscaling.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "notification" {
  count = local.by_eventbridge ? 0 : 1
  name  = "notify"
  role  = aws_iam_role.notification[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = local.by_sns ? ["sns:Publish"] : ["sqs:SendMessage", "sqs:GetQueueUrl"]
      Resource = local.by_sns ? aws_sns_topic.notifications[0].arn : aws_sqs_queue.queue.arn
    }]
  })
}

resource "aws_sns_topic" "notifications" {
  count = local.by_sns ? 1 : 0
  name  = var.name
  # AWS's own key: whoever may publish as a role of this account may use it.
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "queue" {
  count                = local.by_sns ? 1 : 0
  topic_arn            = aws_sns_topic.notifications[0].arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.queue.arn
  raw_message_delivery = true
}

resource "aws_cloudwatch_event_rule" "lifecycle" {
  count       = local.by_eventbridge ? 1 : 0
  name        = var.name
  description = "Lifecycle actions of Auto Scaling, to enrolld's queue"

  event_pattern = jsonencode({
    source      = ["aws.autoscaling"]
    detail-type = ["EC2 Instance-launch Lifecycle Action", "EC2 Instance-terminate Lifecycle Action"]
    detail = merge(
      { LifecycleHookName = var.hook_names },
      var.group_name_prefix == "" ? {} : { AutoScalingGroupName = [{ prefix = var.group_name_prefix }] },
    )
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  count     = local.by_eventbridge ? 1 : 0
  rule      = aws_cloudwatch_event_rule.lifecycle[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.queue.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }
}

# A fixed script without parameters: who may send this can have a key printed, and nothing else.
resource "aws_ssm_document" "print_key" {
  count           = var.run_command == "none" ? 0 : 1
  name            = "${var.name}-print-key"
  document_type   = "Command"
  document_format = "JSON"
  target_type     = "/AWS::EC2::Instance"

  content = jsonencode({
    schemaVersion = "2.2"
    description   = var.run_command == "puppet" ? "Prints the node's certificate request" : "Prints the node's public key"
    mainSteps = [{
      action       = "aws:runShellScript"
      name         = "print"
      precondition = { StringEquals = ["platformType", "Linux"] }
      inputs = {
        timeoutSeconds = "30"
        runCommand     = [var.run_command == "puppet" ? "cat /etc/enrolld/node.csr" : "cat /etc/enrolld/node.pub"]
      }
    }]
  })
}
