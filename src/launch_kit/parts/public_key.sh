PUBLISHED=${PRIVATE_KEY%.pem}.pub
openssl pkey -in "$PRIVATE_KEY" -pubout -out "$PUBLISHED" || fail "openssl could not write $PUBLISHED"
