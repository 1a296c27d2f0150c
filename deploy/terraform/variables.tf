variable "name" {
  description = "The queue's name, and the beginning of every other one. The dead-letter queue is called the same with -dead-letters behind it."
  type        = string
  default     = "enrolld"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,40}$", var.name))
    error_message = "name is 1 to 40 letters, digits, hyphens and underscores."
  }
}

variable "visibility_timeout" {
  description = "Seconds. What a message waits for the next worker when one crashes; enrolld's visibility_timeout sets its own for each message it takes."
  type        = number
  default     = 120
}

variable "notification" {
  description = "hook-target: the hooks name the queue. sns: they name a topic. eventbridge: they name nothing, and a rule picks up what they emit."
  type        = string
  default     = "hook-target"

  validation {
    condition     = contains(["hook-target", "sns", "eventbridge"], var.notification)
    error_message = "notification is hook-target, sns or eventbridge."
  }
}

variable "group_name_prefix" {
  description = "With eventbridge, only groups whose names begin with this; empty for all."
  type        = string
  default     = ""
}

variable "hook_names" {
  description = "With eventbridge, only these hooks. A group's other hooks are somebody else's, and enrolld would complete them."
  type        = list(string)
  default     = ["enrol-on-launch", "leave-on-terminate", "enrolld-launch", "enrolld-terminate"]
}

variable "other_topic_arns" {
  description = "SNS topics in other accounts or regions that may deliver to the queue as well."
  type        = list(string)
  default     = []
}

variable "run_command" {
  description = "none, or for which kind of server a document is made that prints a node's public key (chef) or certificate request (puppet)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "chef", "puppet"], var.run_command)
    error_message = "run_command is none, chef or puppet."
  }
}

variable "alarm_actions" {
  description = "What is told of alarms, such as the ARN of an SNS topic; none for alarms that are only shown."
  type        = list(string)
  default     = []
}

variable "longest_maintenance" {
  description = "Seconds. The longest maintenance of the server that is normal. Messages are held through it, so that an older one is not."
  type        = number
  default     = 3600
}

variable "messages_waiting" {
  description = "So many messages that no worker has taken, for five minutes, are an alarm."
  type        = number
  default     = 100
}

variable "log_group_name" {
  description = "Where the daemon runs elsewhere: the log group that its lines are brought to, which must be there. Metrics, alarms and dashboard are made of it."
  type        = string
  default     = null
}

variable "daemon" {
  description = <<-EOT
    The daemon as a service on Fargate; null where it runs elsewhere.

    image              The image that deploy/container/Dockerfile makes, by its digest where you can.
    configuration      enrolld.toml, as text. It must say log_format = "json", and log no less than info: the metrics are read from that.
    policy             What `enrolld policy --config enrolld.toml` prints for it, as text: all that the daemon may do.
    secrets            What ECS writes beside enrolld.toml into /etc/enrolld before the daemon starts: file name to the ARN of a secret of Secrets
                       Manager, or to ARN:KEY:: for a key of a secret that is a JSON object.
    vpc_id, subnet_ids The network from which AWS's endpoints and the server can be reached; subnets in two zones or more.
    server_port        The server's port, where it is not 443. Puppet Servers listen on 8140.
    assign_public_ip   true where the subnets are public and have no NAT gateway.
  EOT
  type = object({
    image              = string
    configuration      = string
    policy             = string
    secrets            = optional(map(string), {})
    vpc_id             = string
    subnet_ids         = list(string)
    server_port        = optional(number, 443)
    assign_public_ip   = optional(bool, false)
    cpu_architecture   = optional(string, "X86_64")
    cpu                = optional(number, 256)
    memory             = optional(number, 512)
    min_tasks          = optional(number, 2)
    max_tasks          = optional(number, 6)
    messages_per_task  = optional(number, 50)
    log_retention      = optional(number, 365)
    abandoned_launches = optional(number, 3)
  })
  default = null
}
