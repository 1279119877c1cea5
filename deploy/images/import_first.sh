#!/bin/sh
# Puts MiniLM into the model directory, unless it has it: so that a mesh which starts for the first time serves something.
set -eu
models=${1:-/models}
if [ -e "$models/minilm" ]; then
  echo "minilm is in $models already"
  exit 0
fi
exec shoal import /exported/minilm/1/model.pt2 --name minilm --models "$models" \
  --toml /exported/minilm/1/model.toml --tokenizer /exported/minilm/1/tokenizer.json
