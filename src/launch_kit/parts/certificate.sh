
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
