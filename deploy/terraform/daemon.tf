# The daemon as a service on Fargate, where var.daemon says so.

locals {
  daemons = var.daemon == null ? 0 : 1

  log = var.daemon == null ? {} : {
    awslogs-group         = aws_cloudwatch_log_group.daemon[0].name
    awslogs-region        = local.region
    awslogs-stream-prefix = "enrolld"
    # A log that cannot be written must not hold up the daemon.
    mode            = "non-blocking"
    max-buffer-size = "4m"
  }

  # The files of the configuration, each handed to the container that writes them as a variable.
  files = var.daemon == null ? {} : { for name in keys(var.daemon.secrets) : name => "FILE_${upper(replace(name, "/[^A-Za-z0-9]/", "_"))}" }

  # ARN:KEY:: names a key of a secret; who reads it is allowed the secret.
  secret_arns = var.daemon == null ? [] : distinct([for arn in values(var.daemon.secrets) : join(":", slice(split(":", arn), 0, 7))])
}

resource "aws_ecs_cluster" "daemon" {
  count = local.daemons
  name  = var.name

  # Also where the number of running tasks comes from, by which the service scales.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "daemon" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts every log group by itself; no key material stands in the log, so a key of one's own is a choice, not a need
  count             = local.daemons
  name              = "/enrolld/${var.name}"
  retention_in_days = var.daemon.log_retention
  # Forgotten, and not deleted.
  skip_destroy = true
}

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

# The daemon's own role: what `enrolld policy` printed for its configuration.
resource "aws_iam_role" "task" {
  count              = local.daemons
  name_prefix        = "${substr(var.name, 0, 20)}-task-"
  description        = "enrolld, the daemon"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

resource "aws_iam_role_policy" "task" {
  count  = local.daemons
  name   = "enrolld"
  role   = aws_iam_role.task[0].id
  policy = var.daemon.policy
}

# What ECS itself does for the task: fetch the image, write the log, hand over the secrets.
resource "aws_iam_role" "execution" {
  count              = local.daemons
  name_prefix        = "${substr(var.name, 0, 20)}-start-"
  description        = "ECS starts enrolld's tasks as this role"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  count      = local.daemons
  role       = aws_iam_role.execution[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  # By the names, which are known before the secrets are made.
  count = try(length(var.daemon.secrets), 0) > 0 ? 1 : 0
  name  = "secrets"
  role  = aws_iam_role.execution[0].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = local.secret_arns }]
  })
}

resource "aws_ecs_task_definition" "daemon" {
  count                    = local.daemons
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.daemon.cpu
  memory                   = var.daemon.memory
  task_role_arn            = aws_iam_role.task[0].arn
  execution_role_arn       = aws_iam_role.execution[0].arn

  runtime_platform {
    cpu_architecture        = var.daemon.cpu_architecture
    operating_system_family = "LINUX"
  }

  volume {
    name = "configuration"
  }

  container_definitions = jsonencode([
    {
      name                   = "configuration"
      image                  = var.daemon.image
      essential              = false
      readonlyRootFilesystem = true
      user                   = "0:0"
      linuxParameters = {
        capabilities = { drop = ["NET_RAW", "SETUID", "SETGID", "SETPCAP", "SETFCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "KILL"] }
      }
      # The daemon's own image: it writes the files that the configuration names, and ends before the daemon starts. As root, since the volume is root's;
      # the files are the daemon's alone, since it refuses keys that others may read.
      command = concat(
        ["write-files", "--owner", "65532:65532", "enrolld.toml=CONFIGURATION"],
        [for name, variable in local.files : "${name}=${variable}"],
      )
      environment = [{ name = "CONFIGURATION", value = var.daemon.configuration }]
      secrets     = [for name, arn in var.daemon.secrets : { name = local.files[name], valueFrom = arn }]
      mountPoints = [{ sourceVolume = "configuration", containerPath = "/etc/enrolld", readOnly = false }]

      logConfiguration = { logDriver = "awslogs", options = local.log }
    },
    {
      name                   = "enrolld"
      image                  = var.daemon.image
      essential              = true
      dependsOn              = [{ containerName = "configuration", condition = "SUCCESS" }]
      readonlyRootFilesystem = true
      user                   = "65532:65532"
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      command                = ["run", "--config", "/etc/enrolld/enrolld.toml"]
      mountPoints            = [{ sourceVolume = "configuration", containerPath = "/etc/enrolld", readOnly = true }]
      # /readyz: a worker that cannot reach its queue is not well, and a deployment of such is rolled back. Ten times, so that an outage of a few
      # minutes, in which a new task could do no more than this one, replaces nobody.
      healthCheck = { command = ["CMD", "/enrolld", "health"], interval = 30, timeout = 10, retries = 10, startPeriod = 60 }
      # Above the configuration's shutdown_grace (25 s by default), with room for what is given back after it.
      stopTimeout = 60

      logConfiguration = { logDriver = "awslogs", options = local.log }
    },
  ])
}

resource "aws_security_group" "daemon" {
  # checkov:skip=CKV2_AWS_5: it is the service's, in network_configuration; the check does not see through the count
  count       = local.daemons
  name_prefix = "${var.name}-"
  description = "enrolld: nothing comes in; AWS and the server are reached"
  vpc_id      = var.daemon.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "daemon" {
  for_each          = toset([for port in try([443, var.daemon.server_port], []) : tostring(port)])
  security_group_id = aws_security_group.daemon[0].id
  description       = "AWS endpoints, and the server"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_ecs_service" "daemon" {
  # checkov:skip=CKV_AWS_333: false unless the variable says otherwise, for networks without a NAT gateway; the security group lets nothing in
  count                   = local.daemons
  name                    = var.name
  cluster                 = aws_ecs_cluster.daemon[0].id
  task_definition         = aws_ecs_task_definition.daemon[0].arn
  launch_type             = "FARGATE"
  platform_version        = "LATEST"
  desired_count           = var.daemon.min_tasks
  propagate_tags          = "SERVICE"
  enable_ecs_managed_tags = true

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    assign_public_ip = var.daemon.assign_public_ip
    security_groups  = [aws_security_group.daemon[0].id]
    subnets          = var.daemon.subnet_ids
  }

  lifecycle {
    # The service scales by itself.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.secrets, aws_iam_role_policy_attachment.execution]
}

resource "aws_appautoscaling_target" "daemon" {
  count              = local.daemons
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.daemon[0].name}/${aws_ecs_service.daemon[0].name}"
  min_capacity       = var.daemon.min_tasks
  max_capacity       = var.daemon.max_tasks
}

resource "aws_appautoscaling_policy" "messages_per_task" {
  count              = local.daemons
  name               = "${var.name}-messages-per-task"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.daemon[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.daemon[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.daemon[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.daemon.messages_per_task
    scale_out_cooldown = 60
    # A task that goes gives what it holds back to the queue, and each of those messages is received once more.
    scale_in_cooldown = 900

    customized_metric_specification {
      metrics {
        id          = "waiting"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "AWS/SQS"
            metric_name = "ApproximateNumberOfMessagesVisible"

            dimensions {
              name  = "QueueName"
              value = aws_sqs_queue.queue.name
            }
          }
        }
      }

      metrics {
        id          = "running"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"

            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.daemon[0].name
            }

            dimensions {
              name  = "ServiceName"
              value = aws_ecs_service.daemon[0].name
            }
          }
        }
      }

      metrics {
        id          = "per_task"
        return_data = true
        label       = "Messages that wait, for each task"
        expression  = "waiting / FILL(running, ${var.daemon.min_tasks})"
      }
    }
  }
}
