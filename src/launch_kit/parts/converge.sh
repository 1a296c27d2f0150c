
# Where the instance is going.
target() { metadata meta-data/autoscaling/target-lifecycle-state || :; }

# Out of a warm pool the instance waits at the hook once more, and user data is run once. So this script is run again: by cloud-init at the boot that comes
# then, and where the pool does not stop its instances from the end of this one.
AGAIN=${ENROLLD_PER_BOOT:-/var/lib/cloud/scripts/per-boot}/enrolld-launch-kit
pooled=
case $(target) in
  Warmed:*)
    pooled=yes
    if [ "$0" != "$AGAIN" ]; then
      mkdir -p "$(dirname "$AGAIN")"
      cp "$0" "$AGAIN"
      chmod 700 "$AGAIN"
    fi
    ;;
esac

# The second launch hook is this script's own to complete. Where the agent never runs well it is left, and the hook's default result counts.
complete() {
  answer=$(aws_once autoscaling complete-lifecycle-action --region "$REGION" --auto-scaling-group-name "$GROUP" --lifecycle-hook-name "$CONVERGE_HOOK" \
    --instance-id "$INSTANCE_ID" --lifecycle-action-result CONTINUE 2>&1) && result=completed && return 0
  case $answer in
    *'No active Lifecycle Action found'*)
      # An earlier answer was lost, or the hook ran out. With ABANDON the instance terminates, which the metadata service says a little later.
      if [ -n "$result" ]; then
        case $(target) in
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

[ -z "$pooled" ] || say "$INSTANCE_ID is in the warm pool: $CONVERGE_HOOK is completed once more when it leaves it"
while [ -n "$pooled" ]; do
  [ -z "${HEARTBEATS:-}" ] || kill "$HEARTBEATS" 2>/dev/null || :
  case $(target) in
    InService) exec sh "$0" ;;
    Terminated | Warmed:Terminated) break ;;
  esac
  nap 5
done
