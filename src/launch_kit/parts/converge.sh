
# The second launch hook is this script's own to complete. Where the agent never runs well it is left, and the hook's default result counts.
complete() {
  answer=$(aws autoscaling complete-lifecycle-action --region "$REGION" --auto-scaling-group-name "$GROUP" --lifecycle-hook-name "$CONVERGE_HOOK" \
    --instance-id "$INSTANCE_ID" --lifecycle-action-result CONTINUE 2>&1) && return 0
  case $answer in
    *'No active Lifecycle Action found'*) return 0 ;; # it ran out, or an answer was lost
  esac
  say "CompleteLifecycleAction: $answer"
  return 1
}
until_done "completing $CONVERGE_HOOK" complete
say "$INSTANCE_ID has converged: $CONVERGE_HOOK is completed"
