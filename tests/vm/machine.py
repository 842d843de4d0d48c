"""The virtual machine: Debian's kernel in QEMU, a Bluetooth controller on its UART, this checkout in it.

The host's root is its root, read-only under a layer in memory, so it runs this checkout with its own Python.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from virtual_home.processes import Program

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / ".cache" / "vm"
QEMU = "qemu-system-x86_64"
LONGEST_SOCKET_PATH = 100
MEMORY_MB = 1024
APPEND = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on"


def missing() -> list[str]:
    """Return what this machine lacks to run a virtual one, in words."""
    absent = [name for name in (QEMU, "dbus-daemon") if shutil.which(name) is None]
    prepared = all((PARTS / name).exists() for name in ("vmlinuz", "initrd", "made-of"))
    return absent if prepared else [*absent, "Debian's kernel and bluetoothd in .cache/vm"]


def acceleration() -> list[str]:
    """Return KVM where the processor has it and we may use it, else QEMU's own translation on all cores.

    The module `kvm` alone proves nothing: without `kvm_intel` or `kvm_amd` there is no processor behind it.
    """
    real = any(Path(f"/sys/module/{name}").exists() for name in ("kvm_intel", "kvm_amd"))
    if real and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def command(folder: Path) -> list[str]:
    """Return QEMU's command line. The devices must serve `folder`/radio when it starts."""
    places = f"kiteline.repository={ROOT} kiteline.folder={folder}"
    return [
        QEMU,
        *("-M", "q35", *acceleration(), "-smp", "2", "-m", str(MEMORY_MB)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-kernel", str(PARTS / "vmlinuz"), "-initrd", str(PARTS / "initrd")),
        *("-append", f"{APPEND} {places}"),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-serial", f"file:{folder / 'console.log'}"),
        *("-chardev", f"socket,id=hci,path={folder / 'radio'}", "-serial", "chardev:hci"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=control,path={folder / 'guest'},server=on,wait=off"),
        *("-device", "virtserialport,chardev=control,name=kiteline.control"),
    ]


def compile_code() -> None:
    """Compile our code here: the machine cannot keep what it compiles, and translates each instruction."""
    packages = ("wire_format", "device_drivers", "service_kit", "edge_agent", "virtual_home", "tests/vm")
    subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], cwd=ROOT, check=True)


def machine(folder: Path) -> Program:
    """Return the machine, not yet started. Its console goes to `folder`/console.log."""
    if len(str(folder / "control")) > LONGEST_SOCKET_PATH:
        raise ValueError(f"{folder} is too long a path for a socket: choose a shorter one")

    async def ready() -> bool:
        return (folder / "guest").exists()

    return Program("machine", command(folder), log=folder / "qemu.log", ready=ready)
