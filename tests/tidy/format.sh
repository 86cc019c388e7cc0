#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compares each file with what clang-format makes of it. (Its own --dry-run objects to nested inline namespaces that it leaves as
# they are.)
# usage: format.sh CLANG_FORMAT FILE...
set -eu
clang_format=$1
shift
bad=0
for file in "$@"; do
  "$clang_format" "$file" | cmp -s - "$file" || { echo "$file is not formatted: run 'make format'"; bad=1; }
done
exit $bad
