#!/bin/bash
# Runs the check on this machine. Needs an x86-64 Linux with glibc 2.36 or newer and a Python with torch 2.11.0; for
# cuda also that wheel's CUDA part and a GPU. Usage: ./run.sh [--python PYTHON] [--device cuda:0|cpu] [check.py's options]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=python3
if [ "${1:-}" = --python ]; then
  python=$2
  shift 2
fi
torch=$("$python" -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")')
if [ -z "$torch" ]; then
  echo "gpu-check: $python has no torch: give one that has with --python" >&2
  exit 2
fi
# For bench_executor alone: Python finds its own libraries. Workspace: cuBLAS repeats its sums in one order only so.
export CUBLAS_WORKSPACE_CONFIG=:4096:8 PYTHONDONTWRITEBYTECODE=1
exec "$python" "$here/check.py" --libraries "$torch/lib:$here/lib" "$@"
