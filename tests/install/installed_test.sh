#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the library into an empty folder and builds and runs the examples with nothing but what is there.
# usage: installed_test.sh SOURCE_DIR BUILD_DIR
set -eu
source=$1
build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/tree" > "$folder/install.log" || { cat "$folder/install.log"; exit 1; }
library=$(find "$folder/tree" -name libsluice.so)
libdir=$(dirname "$library")

echo "C, by pkg-config"
flags=$(PKG_CONFIG_PATH="$libdir/pkgconfig" pkg-config --cflags --libs sluice)
# shellcheck disable=SC2086  # a list of flags
cc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/docs/examples/c/main.c" $flags -o "$folder/c_example"
LD_LIBRARY_PATH="$libdir" "$folder/c_example" > "$folder/c.out"
cat "$folder/c.out"
grep -q "after the reboot: the same memory, byte 0 is 0x5A" "$folder/c.out"
grep -q "another customer: 0 bytes that are not zero" "$folder/c.out"

echo "a VMM in C, by pkg-config"
flags=$(PKG_CONFIG_PATH="$libdir/pkgconfig" pkg-config --cflags --libs sluice-client)
# shellcheck disable=SC2086  # a list of flags
cc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/docs/examples/client/main.c" $flags -o "$folder/client_example"
# Nobody listens there, and it says so.
if SLUICE_SOCKET="$folder/none.sock" "$folder/client_example" 2> "$folder/client.err"; then exit 1; fi
cat "$folder/client.err"
grep -q "cannot connect to sluiced at $folder/none.sock" "$folder/client.err"

echo "C++, by CMake"
cmake -S "$source/docs/examples/cpp" -B "$folder/cpp" -DCMAKE_PREFIX_PATH="$folder/tree" > "$folder/cpp.log"
cmake --build "$folder/cpp" >> "$folder/cpp.log" 2>&1 || { cat "$folder/cpp.log"; exit 1; }
"$folder/cpp/example" > "$folder/cpp.out"
cat "$folder/cpp.out"
grep -q "VM 1 got clean memory" "$folder/cpp.out"
grep -q "VM 2 got recycled memory" "$folder/cpp.out"
"$folder/cpp/policies" > "$folder/policies.out"
cat "$folder/policies.out"
grep -q "after a restart VM 1 is in group 1 and its policy holds" "$folder/policies.out"
"$folder/cpp/leases" > "$folder/leases.out"
cat "$folder/leases.out"
grep -q "its process has ended, and byte 0 is 0x5A" "$folder/leases.out"
grep -q "nobody has it any more, and byte 0 is 0x00" "$folder/leases.out"

echo "symbols"
symbols=$(nm -D --defined-only "$library")
echo "$symbols" | grep -q "sluice_vm_allocate@@SLUICE_0.1" || { echo "the symbols have no version"; exit 1; }
# What is not ours stays inside.
if echo "$symbols" | grep " [TBD] " | grep -v "sluice" | grep -q .; then
  echo "foreign symbols are visible:"
  echo "$symbols" | grep " [TBD] " | grep -v "sluice"
  exit 1
fi

echo "programs find their plugins, also where the tree was moved"
mv "$folder/tree" "$folder/else where"
"$folder/else where/bin/sluice" engines > "$folder/engines.out"
grep -q "^rtl  *the scrub engine in RTL" "$folder/engines.out" || { cat "$folder/engines.out"; exit 1; }
