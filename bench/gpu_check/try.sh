#!/bin/bash
# Runs a packed check as another machine would: unpacked into a folder of its own, with an empty environment, on the CPU.
# Usage: try.sh TAR PYTHON [check.py's options]
set -euo pipefail
tar=$(realpath "$1")
python=$(realpath --no-symlinks "$2")
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tar -C "$scratch" -xf "$tar"
cd "$scratch"
env -i PATH=/usr/bin:/bin HOME="$scratch" gpu-check/run.sh --python "$python" --device cpu --seconds 1 --plan-seconds 5 "$@"
