
# The second launch hook's time runs from the launch on, also while enrolld waits for its server. It is kept from running out while this script works.
keep_waiting() {
  while kill -0 "$$" 2>/dev/null; do
    nap "$HEARTBEAT_S" >/dev/null 2>&1
    answer=$(aws_once autoscaling record-lifecycle-action-heartbeat --region "$REGION" --auto-scaling-group-name "$GROUP" --lifecycle-hook-name "$CONVERGE_HOOK" \
      --instance-id "$INSTANCE_ID" 2>&1) || say "RecordLifecycleActionHeartbeat: $answer"
  done
}
keep_waiting &
HEARTBEATS=$!
trap 'kill "$HEARTBEATS" 2>/dev/null || :' EXIT
trap 'exit 1' HUP INT TERM
