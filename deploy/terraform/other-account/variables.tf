variable "queue_arn" {
  description = "The queue. Its account may subscribe it to the topic, and nothing else."
  type        = string
}

variable "daemon" {
  description = <<-EOT
    The daemon that serves the groups here; null where they are in its own account, of which it may do all this itself.

    role_arn    The role that the daemon runs as.
    external_id The external_id of the route.
    policy      What `enrolld policy` prints for the route's role_arn (--output json, where role is that ARN), as text.
    role_name   The name of the role that is made; its ARN is the route's role_arn.
  EOT
  type = object({
    role_arn    = string
    external_id = string
    policy      = string
    role_name   = optional(string, "enrolld")
  })
  default = null
}
