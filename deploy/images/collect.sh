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
    # What several need is there once, in this layer.
    [ -e "$to/lib/$library" ] || install -D -m 644 "$(readlink -f "$path")" "$to/lib/$library"
    ln "$to/lib/$library" "$folder/lib/$library"
  done
  install -m 755 "$build/bin/$program" "$folder/bin/$program"
  strip "$folder/bin/$program"
  # Where this machine's torch lies says nothing there; the image says where libraries are.
  printf 'file(RPATH_REMOVE FILE "%s")\n' "$folder/bin/$program" > /tmp/remove_rpath.cmake
  cmake -P /tmp/remove_rpath.cmake
done
# The command line becomes the supervisor of `shoal up --processes`: the services in containers do not need it.
install -m 755 "$to/shoal-supervisor/bin/shoal-supervisor" "$to/shoal/bin/"
cp -nl "$to/shoal-supervisor/lib/"* "$to/shoal/lib/"
if [ "$device" = cuda ]; then
  # Loaded at run time from the folder that libtorch_cpu.so is in: these, what they need (but the driver, which is the
  # host's), and what cuDNN and NVRTC load by name.
  site=build/venv/lib/python3.11/site-packages
  lib=$to/shoal-worker/lib
  for library in libtorch_cuda.so libtorch_cuda_linalg.so libcaffe2_nvrtc.so; do
    install -m 644 "$site/torch/lib/$library" "$lib/$library"
    ldd "$site/torch/lib/$library" | while read -r name _ path _; do
      case $path in */site-packages/*) [ -e "$lib/$name" ] || install -m 644 "$(readlink -f "$path")" "$lib/$name" ;; esac
    done
  done
  find $site/nvidia \( -name 'libcudnn_*.so.*' -o -name 'libnvrtc-builtins.so.*' \) -exec install -m 644 -t "$lib" {} +
fi
