
say() { printf 'enrolld-launch-kit: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

METADATA=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
METADATA=${METADATA%/}
# The waits grow between these, in seconds.
FIRST_PAUSE=${ENROLLD_FIRST_PAUSE:-2}
LONGEST_PAUSE=${ENROLLD_LONGEST_PAUSE:-60}
OVER=$(($(date +%s) + DEADLINE_S))

# Throttled calls are repeated below, spread over time; the CLI's own repetitions come at once. Of this script's calls alone: an agent has its own.
aws_once() { AWS_MAX_ATTEMPTS=1 AWS_RETRY_MODE=standard AWS_PAGER='' aws "$@"; }

for tool in aws curl openssl; do
  command -v "$tool" >/dev/null || fail "there is no $tool on this instance: put it into its image"
done

# What stands under a path of the metadata service (IMDSv2: in a session, and never through a proxy).
metadata() {
  session=$(curl --silent --fail --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$METADATA/latest/api/token") || return 1
  curl --silent --fail --noproxy '*' --max-time 5 -H "X-aws-ec2-metadata-token: $session" "$METADATA/latest/$1"
}

# Sleeps somewhere between half of so many seconds and all of them, so that instances that launched together do not ask together.
nap() {
  random=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')
  sleep "$((($1 + 1) / 2 + random % ($1 / 2 + 1)))"
}

# until_done WHAT COMMAND...: runs it until it succeeds. Ends the script at the deadline, or when the instance is to go.
until_done() {
  what=$1
  shift
  pause=$FIRST_PAUSE
  until "$@"; do
    [ "$(date +%s)" -lt "$OVER" ] || fail "$what was not done within $DEADLINE_S s"
    case $(metadata meta-data/autoscaling/target-lifecycle-state || :) in
      Terminated | Warmed:Terminated) fail "$what was not done: the launch was abandoned, and the instance terminates" ;;
    esac
    nap "$pause"
    pause=$((pause * 2))
    [ "$pause" -le "$LONGEST_PAUSE" ] || pause=$LONGEST_PAUSE
  done
}

read_identity() {
  INSTANCE_ID=$(metadata meta-data/instance-id) && REGION=$(metadata meta-data/placement/region) && identity=$(metadata dynamic/instance-identity/document)
}
until_done 'asking the metadata service' read_identity
# shellcheck disable=SC2034 # names may be made of it
ACCOUNT=$(printf '%s' "$identity" | tr -d '\n' | sed -n 's/.*"accountId" *: *"\([0-9]*\)".*/\1/p')
