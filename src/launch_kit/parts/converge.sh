
# The second launch hook is this script's own to complete. Where the agent never runs well it is left, and the hook's default result counts.
complete() {
  answer=$(aws autoscaling complete-lifecycle-action --region "$REGION" --auto-scaling-group-name "$GROUP" --lifecycle-hook-name "$CONVERGE_HOOK" \
    --instance-id "$INSTANCE_ID" --lifecycle-action-result CONTINUE 2>&1) && result=completed && return 0
  case $answer in
    *'No active Lifecycle Action found'*)
      # An earlier answer was lost, or the hook ran out. With ABANDON the instance terminates, which the metadata service says a little later.
      if [ -n "$result" ]; then
        case $(metadata meta-data/autoscaling/target-lifecycle-state || :) in
          '' | Terminated | Warmed:Terminated) return 1 ;;
          *) return 0 ;;
        esac
      fi
      result='no longer waiting: it was completed before, or ran out with CONTINUE'
      return 1
      ;;
  esac
  say "CompleteLifecycleAction: $answer"
  return 1
}
result=
until_done "completing $CONVERGE_HOOK" complete
say "$INSTANCE_ID has converged: $CONVERGE_HOOK is $result"
