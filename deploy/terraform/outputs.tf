output "queue_url" {
  description = "queue_url of the configuration."
  value       = aws_sqs_queue.queue.id
}

output "queue_arn" {
  description = "The queue."
  value       = aws_sqs_queue.queue.arn
}

output "dead_letter_queue_url" {
  description = "dead_letter_queue_url of the configuration."
  value       = aws_sqs_queue.dead_letters.id
}

output "dead_letter_queue_arn" {
  description = "The dead-letter queue."
  value       = aws_sqs_queue.dead_letters.arn
}

output "notification_target_arn" {
  description = "What the hooks name as their target; null with eventbridge."
  value       = local.by_eventbridge ? null : local.by_sns ? aws_sns_topic.notifications[0].arn : aws_sqs_queue.queue.arn
}

output "notification_role_arn" {
  description = "The role that the hooks name; null with eventbridge."
  value       = one(aws_iam_role.notification[*].arn)
}

output "print_key_document" {
  description = "key = { document } of routes whose keys come by Run Command; null where there is none."
  value       = one(aws_ssm_document.print_key[*].name)
}

output "task_role_arn" {
  description = "The daemon's role; null where it runs elsewhere."
  value       = one(aws_iam_role.task[*].arn)
}

output "log_group_name" {
  description = "The daemon's log; null where it runs elsewhere."
  value       = one(aws_cloudwatch_log_group.daemon[*].name)
}
