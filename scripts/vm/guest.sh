#!/bin/sh
# The machine's system: a bus, and the program that does what the host asks for. guest.sh REPOSITORY FOLDER
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export PYDANTIC_DISABLE_PLUGINS=__all__ # as the unit has it
cd "$1" || exit 1
mkdir -p /run/dbus /var/lib/bluetooth /var/lib/dbus /etc/dbus-1/system.d /etc/bluetooth
chmod 700 /var/lib/bluetooth
cp .cache/vm/bluez/etc/dbus-1/system.d/bluetooth.conf /etc/dbus-1/system.d/
cp .cache/vm/bluez/etc/bluetooth/* /etc/bluetooth/
for place in .cache/vm/libraries/usr/lib/*-linux-gnu .cache/vm/libraries/lib/*-linux-gnu; do
    [ -d "$place" ] && export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$PWD/$place"
done
# Profiles that exist for the tests only, beside those that come with the product.
cp -r firmware_profiles tests/vm/profiles /run/
mv /run/profiles /run/firmware_profiles/tests
mount --bind /run/firmware_profiles firmware_profiles
dbus-daemon --system --fork --nopidfile
.venv/bin/python -m tests.vm.guest "$2"
echo "kiteline: the guest's program ended with $?"
sync
echo b >/proc/sysrq-trigger
while :; do sleep 1; done
