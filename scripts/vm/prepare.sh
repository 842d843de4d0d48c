#!/usr/bin/env bash
# Unpack what the radio tests' virtual machine boots into .cache/vm: kernel, first file system, bluetoothd.
# Nothing of it is installed, and root is not needed. Ends with 1, and the reason, if something is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly to=.cache/vm python=${PYTHON:-.venv/bin/python}

fail() {
    echo "No virtual machine for the radio tests: $*" >&2
    exit 1
}

newest_kernel() { # the newest kernel for this architecture; cloud kernels have no Bluetooth
    apt-cache pkgnames linux-image- | grep -E '^linux-image-[0-9.+-]+(deb[0-9]+-)?amd64$' | sort -V | tail -n 1
}

fetch() { # fetch PACKAGE... into $to/packages
    (cd $to/packages && apt-get download -q "$@" >/dev/null 2>&1) ||
        fail "\`apt-get download $*\` failed. Run \`sudo apt-get update\` (a network is needed), then this again."
}

libraries() { # libraries of bluetoothd that this machine does not have
    ldd $to/bluez/usr/libexec/bluetooth/bluetoothd | grep -q 'not found' || return 0
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances bluez | grep -E '^lib' | sort -u | while read -r package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || fail "it is made for Debian on amd64."
kernel=$(newest_kernel)
[ -n "$kernel" ] || kernel=$(cat $to/kernel-name 2>/dev/null) || true # without a network: the one that is here
[ -n "$kernel" ] || fail "apt knows no kernel: run \`sudo apt-get update\`, then this again."
stamp=$(echo "$kernel"; cat scripts/vm/*)
[ "$stamp" = "$(cat $to/made-of 2>/dev/null)" ] && exit 0

echo "Unpacking $kernel and bluetoothd into $to ..."
rm -rf $to/packages $to/kernel $to/bluez $to/libraries $to/made-of
mkdir -p $to/packages $to/kernel $to/bluez $to/libraries
fetch "$kernel" busybox-static bluez
dpkg -x $to/packages/"$kernel"_*.deb $to/kernel
dpkg -x $to/packages/busybox-static_*.deb $to/kernel
dpkg -x $to/packages/bluez_*.deb $to/bluez
mapfile -t wanted < <(libraries)
if [ ${#wanted[@]} -gt 0 ]; then
    rm $to/packages/*.deb
    fetch "${wanted[@]}"
    for package in $to/packages/*.deb; do dpkg -x "$package" $to/libraries; done
fi
$python scripts/vm/make_initrd.py $to/kernel $to/initrd
cp $to/kernel/boot/vmlinuz-* $to/vmlinuz
rm -rf $to/packages $to/kernel
echo "$kernel" >$to/kernel-name
echo "$stamp" >$to/made-of
