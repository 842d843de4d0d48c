#!/usr/bin/env bash
# Install what is needed from Debian when we may, else print the exact line to run.
#   debian.sh python PYTHON   a Python >=3.11 that can make virtual environments
#   debian.sh demo            what the demo needs
#   debian.sh test            what the tests need; a missing optional part makes its tests skip, by name
#   debian.sh vm              what the radio tests' virtual machine needs (docs/radio_tests.md)
set -euo pipefail
cd "$(dirname "$0")/.."

apt_options=()

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

install() {
    local run=()
    [ "$(id -u)" = 0 ] || run=(sudo -n)
    # A package's own service must not start here: we bring our own broker on a free port.
    local policy=/usr/sbin/policy-rc.d mine=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${run[@]}" tee $policy >/dev/null
        "${run[@]}" chmod +x $policy
        mine=1
    fi
    local status=0
    if ! "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${apt_options[@]}" "$@" >/dev/null 2>&1; then
        "${run[@]}" apt-get update -q >/dev/null 2>&1 || true
        "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${apt_options[@]}" "$@" >/dev/null || status=$?
    fi
    [ -z "$mine" ] || "${run[@]}" rm -f $policy
    return $status
}

missing() { # missing PACKAGE... : print those that are not installed
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

want() { # want HOW PACKAGE...
    local how=$1
    shift
    local absent
    mapfile -t absent < <(missing "$@")
    [ ${#absent[@]} -gt 0 ] || return 0
    if may_install; then
        echo "Installing ${absent[*]} ..."
        install "${absent[@]}" && return 0
    fi
    echo "Not installed: ${absent[*]}. Run this line, then the same make command again:" >&2
    echo "    sudo apt-get install ${apt_options[*]} ${absent[*]}" >&2
    [ "$how" = optional ]
}

unpack_broker() {
    # Without root the broker's packages are unpacked here and run from here.
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] && return 0
    [ -x .cache/mosquitto/usr/sbin/mosquitto ] && return 0
    may_install && return 1
    command -v apt-get >/dev/null || return 1
    mkdir -p .cache/packages .cache/mosquitto
    (cd .cache/packages && apt-get download -q mosquitto libmosquitto1 libcjson1 libwrap0 libdlt2 libnsl2 libtirpc3 \
        libwebsockets17 libev4 libuv1 >/dev/null 2>&1) || true
    local package
    for package in .cache/packages/*.deb; do
        [ -e "$package" ] && dpkg -x "$package" .cache/mosquitto
    done
    [ -x .cache/mosquitto/usr/sbin/mosquitto ]
}

machine() { # machine HOW: QEMU from Debian; kernel and bluetoothd are unpacked, not installed
    # What QEMU recommends are screens and firmware that this machine does not have.
    apt_options=(--no-install-recommends)
    want "$1" qemu-system-x86 dbus
    scripts/vm/prepare.sh || [ "$1" = optional ]
}

case $1 in
python)
    if ! "$2" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        want needed python3 python3-venv
        "$2" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
            echo "$2 is older than Python 3.11 or cannot make virtual environments: name another one," >&2
            echo "    make PYTHON=/path/to/python3.11 demo" >&2
            exit 1
        }
    fi
    ;;
demo) unpack_broker || want needed mosquitto ;;
test)
    unpack_broker || want needed mosquitto
    want optional chromium chromium-driver fonts-noto-cjk victoria-metrics postgresql strace dbus systemd
    machine optional
    ;;
vm) machine needed ;;
*) echo "usage: debian.sh python PYTHON | demo | test | vm" >&2; exit 2 ;;
esac
