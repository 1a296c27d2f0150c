# A key pair that never leaves this instance, its request under a parameter named after it, and puppet once the certificate is there.
set -euo pipefail
umask 077
metadata=http://169.254.169.254/latest
token=$(curl -sSf --retry 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' $metadata/api/token)
instance=$(curl -sSf --retry 10 -H "X-aws-ec2-metadata-token: $token" $metadata/meta-data/instance-id)
export AWS_DEFAULT_REGION=$region PATH=$PATH:/opt/puppetlabs/bin

# Throttling is normal when many instances start at once: again, after a time that is no other instance's, while the hook waits.
again() {
  until "$@"; do
    [ $SECONDS -lt "$timeout" ] || exit 1
    sleep $((5 + RANDOM % 20))
  done
}

ssl=/etc/puppetlabs/puppet/ssl
mkdir -p $ssl/private_keys $ssl/certs $ssl/certificate_requests /etc/enrolld
openssl req -new -newkey rsa:4096 -nodes -sha256 -subj "/CN=$instance" \
  -keyout "$ssl/private_keys/$instance.pem" -out "$ssl/certificate_requests/$instance.pem" 2>/dev/null
install -m 0644 "$ssl/certificate_requests/$instance.pem" /etc/enrolld/node.csr
publish() {
  said=$(aws ssm put-parameter --type String --tier Standard --name "/enrolld/$instance/csr" --value file:///etc/enrolld/node.csr 2>&1) \
    || [[ $said = *ParameterAlreadyExists* ]]
}
# A document prints it otherwise.
[ "$key" = document ] || again publish

fetch() {
  aws ssm get-parameter --name "/enrolld/$instance/certificate" --query Parameter.Value --output text > "$ssl/certs/$instance.pem" 2>/dev/null
}
again fetch
chown -R puppet: $ssl 2>/dev/null || true
server=${server#https://}
puppet config set --section main server "${server%%[:/]*}"
puppet config set --section main certname "$instance"
converge() {
  code=0
  puppet agent --onetime --no-daemonize --detailed-exitcodes || code=$?
  [ $code -eq 0 ] || [ $code -eq 2 ]
}
again converge
systemctl enable --now puppet
