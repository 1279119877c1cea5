#!/bin/bash
# What each executable needs and nothing else: TO/NAME/bin/NAME and TO/NAME/lib, found by ldd; glibc and the loader are
# the image's own. Usage: collect.sh BUILD TO cpu|cuda
set -euo pipefail
build=$1
to=$2
device=$3
for program in shoal shoal-supervisor shoal-gateway shoal-scheduler shoal-worker shoal-cache shoal-precision; do
  folder=$to/$program
  mkdir -p "$folder/bin" "$folder/lib"
  ldd "$build/bin/$program" | while read -r library _ path _; do
    case $library in
      libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|librt.so.*|linux-vdso.so.*|/*) continue ;;
    esac
    [ "$path" != not ] || { echo "collect: $library is not found for $program" >&2; exit 1; }
    install -m 644 "$(readlink -f "$path")" "$folder/lib/$library"
  done
  install -m 755 "$build/bin/$program" "$folder/bin/$program"
  strip "$folder/bin/$program"
  # Where this machine's torch lies says nothing there; the image says where libraries are.
  printf 'file(RPATH_REMOVE FILE "%s")\n' "$folder/bin/$program" > /tmp/remove_rpath.cmake
  cmake -P /tmp/remove_rpath.cmake
done
# The command line becomes the supervisor of `shoal up --processes`: the services in containers do not need it.
install -m 755 "$to/shoal-supervisor/bin/shoal-supervisor" "$to/shoal/bin/"
cp -n "$to/shoal-supervisor/lib/"* "$to/shoal/lib/"
if [ "$device" = cuda ]; then
  # Loaded at run time from the folder that libtorch_cpu.so is in.
  site=build/venv/lib/python3.11/site-packages
  cp -n $site/torch/lib/libtorch_cuda*.so $site/torch/lib/libc10_cuda.so "$to/shoal-worker/lib/"
  find $site/nvidia -name '*.so*' -exec cp -n {} "$to/shoal-worker/lib/" \;
fi
