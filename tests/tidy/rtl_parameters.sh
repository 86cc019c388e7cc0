#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every parameter of the engine outside its range stops the elaboration with an error that names it, its value and its
# range; the ends of each range do not. Usage: rtl_parameters.sh VERILATOR SOURCES...
set -eu
verilator=$1
shift
elaborates() {
  "$verilator" --lint-only -Wno-fatal -Wno-WIDTH --top-module scrub "-G$parameter=$value" "$@" 2>&1
}
bad=0
while read -r parameter range illegal; do
  for value in $illegal; do
    elaborates "$@" | grep -q "$parameter is $value: give $(echo "$range" | tr _ ' ')" || {
      echo "$parameter=$value elaborates without the error that it deserves" >&2
      bad=1
    }
  done
done <<'END'
DATA_WIDTH 64,_128,_256,_512_or_1024 16 32 96 384 2048
ADDR_WIDTH 40_to_64 39 65
NUM_QUEUES 1_to_16 0 17
NUM_SLOTS a_power_of_two_from_16_to_4096 8 100 8192
PREFETCH a_power_of_two_from_16_to_128 8 48 256
MAX_OUTSTANDING a_power_of_two_from_16_to_1024 8 100 2048
NUM_MASTERS 1_or_2 0 3
END
while read -r parameter legal; do
  for value in $legal; do
    if elaborates "$@" | grep "$parameter is"; then
      echo "$parameter=$value is legal and does not elaborate" >&2
      bad=1
    fi
  done
done <<'END'
DATA_WIDTH 64 1024
ADDR_WIDTH 40 64
NUM_QUEUES 1 16
NUM_SLOTS 16 4096
PREFETCH 16 128
MAX_OUTSTANDING 16 1024
NUM_MASTERS 1 2
END
exit $bad
