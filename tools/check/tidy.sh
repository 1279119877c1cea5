#!/usr/bin/env bash
# clang-tidy over our sources, JOBS at a time, with progress. Sources are taken from the build's compile commands.
# usage: tidy.sh BUILD_FOLDER JOBS
set -euo pipefail
build=$1 jobs=$2
mapfile -t files < <(git ls-files 'actors/*.cpp' 'services/*.cpp' 'sdk/cpp/src/*.cpp')
echo "== clang-tidy: ${#files[@]} files, $jobs at a time"
# g++'s own flags that clang does not know are dropped by clang-tidy's argument adjusters.
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$jobs" sh -c \
  'clang-tidy -p "$0" --quiet "$1" 2>/dev/null && echo "  ok $1" || { echo "  FAILED $1"; clang-tidy -p "$0" --quiet "$1" 2>&1 | tail -n 20; exit 255; }' "$build"
