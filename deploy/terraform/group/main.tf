# An example of a group whose instances are enrolled: its hooks, its instances' role, its launch template. Take from it what your own groups need.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
  }
}

# EC2 and nobody else: that a session of this role is named after an instance is what proves whose key it wrote.
resource "aws_iam_role" "instances" {
  name        = var.role_name
  description = "Instances that publish their keys for enrolld"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

# What `enrolld policy --instance --launch-kit` printed.
resource "aws_iam_role_policy" "instances" {
  name   = "enrolld"
  role   = aws_iam_role.instances.id
  policy = var.policy
}

resource "aws_iam_instance_profile" "instances" {
  name = var.role_name
  role = aws_iam_role.instances.name
}

resource "aws_launch_template" "instances" {
  name_prefix            = "${var.name}-"
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = var.security_group_ids
  user_data              = base64encode(var.user_data)
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.instances.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = var.root_device_name

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }
}

resource "aws_autoscaling_group" "group" {
  name                = var.name
  min_size            = var.min_size
  max_size            = var.max_size
  vpc_zone_identifier = var.subnet_ids
  # Terraform would wait ten minutes for instances in service and then fail; an instance that waits for its server may take longer, and is well.
  wait_for_capacity_timeout = "0"

  launch_template {
    id      = aws_launch_template.instances.id
    version = aws_launch_template.instances.latest_version
  }

  # Here and not as resources of their own: those are made after the group, whose first instances would not wait for them.
  initial_lifecycle_hook {
    name                    = "enrol-on-launch"
    lifecycle_transition    = "autoscaling:EC2_INSTANCE_LAUNCHING"
    default_result          = "ABANDON"
    heartbeat_timeout       = var.heartbeat_timeout
    notification_target_arn = var.notification_target_arn
    role_arn                = var.notification_role_arn
  }

  # CONTINUE: ABANDON would stop the hooks that other teams have on the same termination.
  initial_lifecycle_hook {
    name                    = "leave-on-terminate"
    lifecycle_transition    = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result          = "CONTINUE"
    heartbeat_timeout       = var.heartbeat_timeout
    notification_target_arn = var.notification_target_arn
    role_arn                = var.notification_role_arn
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }

  # Instances that start before they may publish their keys would only lose time.
  depends_on = [aws_iam_role_policy.instances]
}
