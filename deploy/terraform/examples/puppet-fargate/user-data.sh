#!/bin/sh
# Enrols this instance. Printed by enrolld 0.1.0 for route db.
# It needs a POSIX shell, curl, openssl, the AWS CLI, and instance metadata (IMDSv2).
set -eu

DEADLINE_S=${ENROLLD_DEADLINE:-172800}

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

NODE_NAME="${INSTANCE_ID}"
SSL_DIR=${ENROLLD_SSL_DIR:-/etc/puppetlabs/puppet/ssl}
PRIVATE_KEY=$SSL_DIR/private_keys/$NODE_NAME.pem

# The private key is made here, and never leaves. One that is there already is kept: this script can run again.
# shellcheck disable=SC2034 # where an agent runs, it is put back
MASK=$(umask)
umask 077
mkdir -p "$(dirname "$PRIVATE_KEY")"
if ! openssl pkey -in "$PRIVATE_KEY" -noout 2>/dev/null; then
  openssl genrsa -out "$PRIVATE_KEY.new" 2048 2>/dev/null || fail "openssl could not make a key under $PRIVATE_KEY"
  mv "$PRIVATE_KEY.new" "$PRIVATE_KEY"
fi
mkdir -p "$SSL_DIR/certificate_requests" "$SSL_DIR/certs"
PUBLISHED=$SSL_DIR/certificate_requests/$NODE_NAME.pem
openssl req -new -key "$PRIVATE_KEY" -subj "/CN=$NODE_NAME" -out "$PUBLISHED" || fail "openssl could not write $PUBLISHED"

PARAMETER="/enrolld/${INSTANCE_ID}/csr"
# Throttled where many instances launch: Systems Manager takes few writes a second. Who has written is seen by enrolld, which believes this instance alone.
publish() {
  answer=$(aws_once ssm put-parameter --region "$REGION" --name "$PARAMETER" --type String --value "file://$PUBLISHED" 2>&1) && return 0
  case $answer in
    *ParameterAlreadyExists*) return 0 ;; # by an earlier run, or one whose answer was lost
  esac
  say "PutParameter: $answer"
  return 1
}
until_done "publishing $PARAMETER" publish
say "published $PARAMETER"

CERTIFICATE_PARAMETER="/enrolld/${INSTANCE_ID}/certificate"
# The signed certificate, once enrolld has it. One that is not of this key is not taken.
fetch_certificate() {
  aws_once ssm get-parameter --region "$REGION" --name "$CERTIFICATE_PARAMETER" --query Parameter.Value --output text >"$CERTIFICATE.new" 2>/dev/null || return 1
  certified=$(openssl x509 -in "$CERTIFICATE.new" -noout -pubkey 2>/dev/null) && [ "$certified" = "$(openssl pkey -in "$PRIVATE_KEY" -pubout)" ] && return 0
  say "what stands under $CERTIFICATE_PARAMETER is no certificate of this instance's key"
  return 1
}
CERTIFICATE=$SSL_DIR/certs/$NODE_NAME.pem
until_done "fetching $CERTIFICATE_PARAMETER" fetch_certificate
chmod 644 "$CERTIFICATE.new"
mv "$CERTIFICATE.new" "$CERTIFICATE"
say "enrolled: $CERTIFICATE"

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
export SSL_DIR

# shellcheck disable=SC2016 # the agent's own shell reads it
AGENT='server=https://puppet.example.com:8140
server=${server#https://}
chown -R puppet: "$SSL_DIR" 2>/dev/null
puppet config set --section main server "${server%%[:/]*}" && puppet config set --section main certname "$NODE_NAME" || exit
puppet agent --onetime --no-daemonize --detailed-exitcodes || [ $? -eq 2 ] || exit
systemctl enable --now puppet'
AGENT_IS_WELL='0'
# What the agent's command may need; the vendors' packages put their programs there. What it writes is not to be as closed as the key.
export NODE_NAME PRIVATE_KEY
export PATH="$PATH:/opt/puppetlabs/bin:/opt/chef/bin"
umask "$MASK"
run_agent() {
  code=0
  sh -c "$AGENT" || code=$?
  case " $AGENT_IS_WELL " in
    *" $code "*) return 0 ;;
  esac
  say "the agent ended with $code"
  return 1
}
until_done "the agent's first run" run_agent
say 'the agent has run'
