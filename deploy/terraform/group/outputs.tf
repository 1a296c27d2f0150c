output "role_arn" {
  description = "owner_role of the route that serves the group."
  value       = aws_iam_role.instances.arn
}

output "name" {
  description = "The group."
  value       = aws_autoscaling_group.group.name
}
