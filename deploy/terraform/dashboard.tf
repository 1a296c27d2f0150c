locals {
  service = ["ClusterName", one(aws_ecs_cluster.daemon[*].name), "ServiceName", one(aws_ecs_service.daemon[*].name)]

  graphs = concat([
    { title = "Messages: waiting, in hand, dead", metrics = [
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.queue.name, { label = "waiting", stat = "Maximum" }],
      ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", aws_sqs_queue.queue.name, { label = "in hand", stat = "Maximum" }],
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_letters.name, { label = "dead letters", stat = "Maximum" }],
    ] },
    { title = "Oldest message, in seconds", metrics = [
      ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.queue.name, { label = "oldest", stat = "Maximum" }],
    ] },
    { title = "Actions: open, held, abandoned", metrics = [
      [local.log_metrics, "Open", { label = "open, in all workers", stat = "Sum" }],
      [local.log_metrics, "Held", { label = "held, in all workers", stat = "Sum" }],
      [local.log_metrics, "Abandoned", { label = "abandoned", stat = "Sum" }],
    ] },
    { title = "Workers", metrics = concat(
      [[local.log_metrics, "Alive", { label = "alive", stat = "Sum" }]],
      [for count in range(local.daemons) : concat(["ECS/ContainerInsights", "RunningTaskCount"], local.service, [{ label = "running", stat = "Average" }])],
    ) },
    ], [for count in range(local.daemons) : { title = "Load, in per cent", metrics = [
      concat(["AWS/ECS", "CPUUtilization"], local.service, [{ label = "CPU", stat = "Maximum" }]),
      concat(["AWS/ECS", "MemoryUtilization"], local.service, [{ label = "memory", stat = "Maximum" }]),
    ] }
  ])

  what_went_wrong = join(" | ", [
    "SOURCE '${local.log_group == null ? "" : local.log_group}'",
    "fields @timestamp, event, instance, group, code, reason",
    "filter level = 'WARN' or level = 'ERROR'",
    "sort @timestamp desc",
    "limit 50",
  ])
}

resource "aws_cloudwatch_dashboard" "daemon" {
  count          = local.has_log ? 1 : 0
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [for at, graph in local.graphs : {
        type       = "metric"
        x          = at % 2 * 12
        y          = floor(at / 2) * 6
        width      = 12
        height     = 6
        properties = { title = graph.title, region = local.region, view = "timeSeries", period = 60, metrics = graph.metrics }
      }],
      [{
        type       = "log"
        x          = local.daemons * 12
        y          = 12
        width      = 24 - local.daemons * 12
        height     = 6
        properties = { title = "What went wrong", region = local.region, view = "table", query = local.what_went_wrong }
      }],
    )
  })
}
