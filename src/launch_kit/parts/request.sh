mkdir -p "$SSL_DIR/certificate_requests" "$SSL_DIR/certs"
PUBLISHED=$SSL_DIR/certificate_requests/$NODE_NAME.pem
openssl req -new -key "$PRIVATE_KEY" -subj "/CN=$NODE_NAME" -out "$PUBLISHED" || fail "openssl could not write $PUBLISHED"
