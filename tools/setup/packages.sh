#!/bin/sh
# Installs the Debian packages of packages*.txt that are not there yet. Needs root or sudo, and only if one is missing.
set -eu
list=$(grep -hv "^#" "$(dirname "$0")"/packages*.txt)
missing=
for package in $list; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then as_root=; else
  command -v sudo >/dev/null || { echo "as root, run: apt-get install -y$missing" >&2; exit 1; }
  as_root=sudo
fi
echo "installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y -q --no-install-recommends $missing
