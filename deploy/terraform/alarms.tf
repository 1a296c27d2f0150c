# The alarms about the queues, and those about the daemon's log.

locals {
  log_metrics = "enrolld/${var.name}"

  # The service's log, or that of a daemon elsewhere.
  has_log   = var.daemon != null || var.log_group_name != null
  log_group = var.daemon == null ? var.log_group_name : one(aws_cloudwatch_log_group.daemon[*].name)

  queue_alarms = {
    waiting = {
      description = "Messages wait for a worker. Are there workers, and do they keep up?"
      metric      = "ApproximateNumberOfMessagesVisible"
      queue       = aws_sqs_queue.queue.name
      statistic   = "Minimum"
      period      = 60
      periods     = 5
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = var.messages_waiting
    }
    # The age counts messages in hand too, and so rises through every maintenance of the server.
    oldest = {
      description = "An action is open for longer than the longest maintenance. Does the server take orders? Does a route hold launches?"
      metric      = "ApproximateAgeOfOldestMessage"
      queue       = aws_sqs_queue.queue.name
      statistic   = "Maximum"
      period      = 300
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = var.longest_maintenance
    }
    dead-letters = {
      description = "There are dead letters. `enrolld dead-letters list` says why, and docs/dead-letters.md what to do."
      metric      = "ApproximateNumberOfMessagesVisible"
      queue       = aws_sqs_queue.dead_letters.name
      statistic   = "Maximum"
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
    }
  }

  log_alarms = {
    silent = {
      description = "No worker has said for three minutes that it is alive."
      metric      = "Alive"
      statistic   = "Sum"
      period      = 60
      periods     = 3
      comparison  = "LessThanThreshold"
      threshold   = 1
      # No line, no data: that is what this alarm is about.
      missing = "breaching"
    }
    abandoned = {
      description = "Launches are abandoned, and their groups launch others. The dead letters say why."
      metric      = "Abandoned"
      statistic   = "Sum"
      period      = 300
      periods     = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = try(var.daemon.abandoned_launches, 3)
      missing     = "notBreaching"
    }
    held = {
      description = "Launches are held for a fault of their route, which a person must mend. The log says which, as launch_held."
      metric      = "Held"
      statistic   = "Maximum"
      period      = 300
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
  }

  # Abandoned is counted from the line at the end of each action, and not from the count in the line of each minute: a task that ends takes that with it.
  log_filters = {
    Alive     = { pattern = "{ $.event = \"alive\" }", value = "1", otherwise = null }
    Open      = { pattern = "{ $.event = \"alive\" }", value = "$.open", otherwise = null }
    Held      = { pattern = "{ $.event = \"alive\" }", value = "$.held", otherwise = null }
    Abandoned = { pattern = "{ $.event = \"ended\" && $.result = \"abandoned\" }", value = "1", otherwise = "0" }
  }
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each            = local.queue_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "log" {
  for_each            = { for name, alarm in local.log_alarms : name => alarm if local.has_log }
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = local.log_metrics
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_log_metric_filter" "log" {
  for_each       = { for name, filter in local.log_filters : name => filter if local.has_log }
  name           = each.key
  log_group_name = local.log_group
  pattern        = each.value.pattern

  metric_transformation {
    namespace     = local.log_metrics
    name          = each.key
    value         = each.value.value
    default_value = each.value.otherwise
    unit          = "Count"
  }
}
