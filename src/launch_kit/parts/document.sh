
# Where the document of enrolld's templates looks.
mkdir -p "$(dirname "$DOCUMENT_FILE")"
cp "$PUBLISHED" "$DOCUMENT_FILE"
say "made $PUBLISHED and $DOCUMENT_FILE, for the route's document to print"
