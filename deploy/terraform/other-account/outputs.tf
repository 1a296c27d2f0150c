output "notification_target_arn" {
  description = "What the hooks name as their target; and one of the queue's other_topic_arns."
  value       = aws_sns_topic.notifications.arn
}

output "notification_role_arn" {
  description = "The role that the hooks name."
  value       = aws_iam_role.notification.arn
}

output "daemon_role_arn" {
  description = "role_arn of the route; null where there is none."
  value       = one(aws_iam_role.daemon[*].arn)
}
