#!/bin/bash
# Packs the check that runs on a machine with torch 2.11.0 and a GPU: bench_executor, bench_planner, the Debian libraries
# they need, the export scripts, run.sh. Without torch and without weights. Usage: pack.sh FOLDER-OF-PROGRAMS TAR.
set -euo pipefail
programs=$1
tar=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
most_bytes=$((64 * 1024 * 1024))
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
folder=$scratch/gpu-check
mkdir -p "$folder/lib" "$folder/export" "$(dirname "$tar")"

# glibc is the other machine's, as is the loader; torch's folder there has LibTorch and its OpenMP runtime.
for name in bench_executor bench_planner; do
  program=$programs/$name
  ldd "$program" | while read -r library _ path _; do
    case $library in
      libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|librt.so.*|libutil.so.*|linux-vdso.so.*|/*) continue ;;
    esac
    case $path in
      not) echo "pack: $library is not found for $program" >&2; exit 1 ;;
      /lib/*|/usr/lib/*) install -m 644 "$(readlink -f "$path")" "$folder/lib/$library" ;;
    esac
  done
  install -m 755 "$program" "$folder/$name"
  strip "$folder/$name"
  # Where this machine's torch lies says nothing there.
  printf 'file(RPATH_REMOVE FILE "%s")\n' "$folder/$name" > "$scratch/remove_rpath.cmake"
  cmake -P "$scratch/remove_rpath.cmake"
done
install -m 755 "$here/run.sh" "$folder/"
install -m 644 "$here/check.py" "$here/networks.py" "$folder/"
install -m 644 "$root"/tools/export/*.py "$folder/export/"
tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner -cf "$tar" gpu-check
bytes=$(stat -c %s "$tar")
if [ "$bytes" -gt "$most_bytes" ]; then
  echo "pack: $tar has $bytes bytes, more than $most_bytes" >&2
  exit 1
fi
echo "$tar: $((bytes / 1024)) KiB; there: tar -xf $(basename "$tar") && gpu-check/run.sh --device cuda:0"
