# A key pair that never leaves this instance, its public half under a parameter named after it, and chef-client once the server knows it.
set -euo pipefail
umask 077
metadata=http://169.254.169.254/latest
token=$(curl -sSf --retry 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' $metadata/api/token)
instance=$(curl -sSf --retry 10 -H "X-aws-ec2-metadata-token: $token" $metadata/meta-data/instance-id)
export AWS_DEFAULT_REGION=$region

# Throttling is normal when many instances start at once: again, after a time that is no other instance's, while the hook waits.
again() {
  until "$@"; do
    [ $SECONDS -lt "$timeout" ] || exit 1
    sleep $((5 + RANDOM % 20))
  done
}

mkdir -p /etc/chef /etc/enrolld
openssl genrsa -out /etc/chef/client.pem 2048 2>/dev/null
openssl rsa -in /etc/chef/client.pem -pubout -out /etc/enrolld/node.pub 2>/dev/null
chmod 0644 /etc/enrolld/node.pub
publish() {
  said=$(aws ssm put-parameter --type String --tier Standard --name "/enrolld/$instance/public-key" --value file:///etc/enrolld/node.pub 2>&1) \
    || [[ $said = *ParameterAlreadyExists* ]]
}
# A document prints it otherwise.
[ "$key" = document ] || again publish

printf '%s\n' "chef_server_url '$server'" "node_name '$instance'" "client_key '/etc/chef/client.pem'" > /etc/chef/client.rb
# The server knows this node's key once enrolld is done; until then it refuses.
again chef-client --once --chef-license accept-silent
chef-client --daemonize --interval 1800 --splay 300
