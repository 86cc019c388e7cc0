#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Verilator lint of the engine with all warnings, at every data width. Usage: rtl_lint.sh VERILATOR SOURCES...
set -eu
verilator=$1
shift
for width in 64 128 256 512 1024; do
  "$verilator" --lint-only -Wall --assert --top-module scrub -GDATA_WIDTH="$width" "$@" || {
    echo "lint: failed at DATA_WIDTH=$width" >&2
    exit 1
  }
done
