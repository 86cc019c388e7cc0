#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Verilator lint of the engine with all warnings, for sets of parameters that use every branch. Usage: rtl_lint.sh
# VERILATOR SOURCES...
set -eu
verilator=$1
shift
for parameters in "" "-GDATA_WIDTH=64 -GNUM_QUEUES=1 -GNUM_MASTERS=1 -GID_PER_QUEUE=0 -GADDR_WIDTH=40" \
  "-GDATA_WIDTH=128 -GNUM_QUEUES=2 -GID_PER_QUEUE=0" "-GDATA_WIDTH=256 -GNUM_QUEUES=3 -GNUM_MASTERS=1" \
  "-GDATA_WIDTH=1024 -GNUM_QUEUES=16 -GPREFETCH=16"; do
  # shellcheck disable=SC2086  # a list of words
  "$verilator" --lint-only -Wall --assert --top-module scrub $parameters "$@" || {
    echo "lint: failed with $parameters" >&2
    exit 1
  }
done
