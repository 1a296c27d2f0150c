
# The private key is made here, and never leaves. One that is there already is kept: this script can run again.
# shellcheck disable=SC2034 # where an agent runs, it is put back
MASK=$(umask)
umask 077
mkdir -p "$(dirname "$PRIVATE_KEY")"
if ! openssl pkey -in "$PRIVATE_KEY" -noout 2>/dev/null; then
  openssl genrsa -out "$PRIVATE_KEY.new" 2048 2>/dev/null || fail "openssl could not make a key under $PRIVATE_KEY"
  mv "$PRIVATE_KEY.new" "$PRIVATE_KEY"
fi
