#!/bin/sh
# Without arguments: a key for each kind of service, if it has none yet, in a folder that it alone is given.
# With arguments: `shoal keys` with them.
set -eu
[ $# -eq 0 ] || exec shoal keys "$@"
for role in gateway scheduler worker cache precision; do
  [ ! -e "/secret/$role/key" ] || continue
  shoal keys revoke "$role" >/dev/null 2>&1 || true # of a key that was lost
  shoal keys new "$role" --role "$role" --out "/secret/$role/key"
done
