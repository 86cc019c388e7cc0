#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages in a bare Debian 12 of their own, and runs what is in them. As root; needs debootstrap and a mirror of Debian's.
# usage: packages_test.sh FOLDER_OF_PACKAGES
set -eu
packages=$1
folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT
root=$folder/root
echo "a bare Debian 12"
debootstrap --variant=minbase bookworm "$root" > "$folder/log" 2>&1 || { tail -20 "$folder/log"; exit 1; }
mkdir "$root/packages"
cp "$packages"/*.deb "$root/packages/"
cat > "$root/run.sh" <<'END'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
before=$(dpkg -l | grep -c '^ii')
apt-get update -q > /log 2>&1 || { cat /log; exit 1; }
apt-get install -y --no-install-recommends /packages/*.deb > /log 2>&1 || { cat /log; exit 1; }
echo "installed: $(($(dpkg -l | grep -c '^ii') - before)) packages with what they need"

echo "sluice"
sluice engines > /engines
cat /engines
grep -q '^rtl' /engines
if grep '^rtl' /engines | grep -q 'not available'; then exit 1; fi
sluice trace generate --vms 20 --output /trace.csv
sluice replay --trace /trace.csv --engine rtl --memory-scale 65536 > /replay
grep -q 'leaks found  *0$' /replay

echo "sluiced"
sluiced --check
test -f /etc/sluice/sluiced.toml
test -f /usr/lib/systemd/system/sluiced.service
grep -q 'ExecStart=/usr/bin/sluiced --config /etc/sluice/sluiced.toml' /usr/lib/systemd/system/sluiced.service
sluiced --config /etc/sluice/sluiced.toml 2> /sluiced.log &
daemon=$!
for _ in $(seq 100); do
  if [ -S /run/sluice/api.sock ]; then break; fi
  sleep 0.1
done
sluicectl host || { cat /sluiced.log; exit 1; }
sluice doctor || true
kill $daemon
wait $daemon

echo "the library"
test -f "/usr/lib/$(dpkg --print-architecture | sed s/amd64/x86_64/)-linux-gnu/libsluice.so.0"
test -f /usr/include/sluice/sluice.h

echo "removed"
apt-get purge -y sluiced sluice-tools sluice-plugins libsluice0 libsluice-dev > /log 2>&1 || { cat /log; exit 1; }
if [ -e /etc/sluice ] || [ -e /usr/bin/sluiced ]; then exit 1; fi
END
unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" sh /run.sh
echo "packages: good"
