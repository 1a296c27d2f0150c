
in_service() {
  state=$(aws_once autoscaling describe-auto-scaling-instances --region "$REGION" --instance-ids "$INSTANCE_ID" \
    --query 'AutoScalingInstances[0].LifecycleState' --output text 2>/dev/null) || return 1
  case $state in
    InService | Standby | Warmed:Stopped | Warmed:Running | Warmed:Hibernated) return 0 ;;
  esac
  return 1
}
until_done 'waiting until in service' in_service
say "$INSTANCE_ID is $state, enrolled as $NODE_NAME"
