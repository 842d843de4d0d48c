"""Make the first file system of the radio tests' machine: busybox, the modules it needs, and `init`.

`make_initrd.py UNPACKED OUT`: UNPACKED holds the kernel's and busybox's packages. The modules are loaded by
`init` in the order of the file `order`, each after those that it depends on.
"""

import gzip
import lzma
import re
import sys
from pathlib import Path

# The first row serves the kernel's own cryptography: without it Bluetooth finds no ECDH, and pairing hangs.
MODULES = (
    *("hmac", "sha256_generic", "sha512_generic", "ctr", "drbg", "ecb", "cmac"),
    *("algif_skcipher", "algif_hash"),  # bluetoothd resolves addresses with them
    *("virtio_pci", "9pnet_virtio", "9p", "overlay"),
    *("virtio_console", "hci_uart", "uhid"),
)
FOLDERS = ("bin", "modules", "proc", "sys", "dev", "host", "scratch", "root")
S_FOLDER, S_PROGRAM, S_LINK = 0o40755, 0o100755, 0o120777


def archived(entries: list[tuple[str, int, bytes]]) -> bytes:
    """Return a cpio archive in the "newc" format (the kernel's Documentation, initramfs buffer format)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        numbers = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % n for n in numbers) + name.encode() + b"\0"
        for part in (head, data):
            out += part + bytes(-len(part) % 4)
    return bytes(out)


def content(path: Path) -> bytes:
    """Return a module, unpacked."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def plain(name: str) -> str:
    """Return a module's name as the kernel writes it."""
    return name.replace("-", "_")


def wanted(tree: Path) -> dict[str, bytes]:
    """Return the modules by name, each after those that it depends on; raises `SystemExit` naming one."""
    found = {plain(path.name.split(".")[0]): path for path in tree.rglob("*.ko*")}
    built_in = {plain(Path(line).stem) for line in next(tree.rglob("modules.builtin")).read_text().split()}
    chosen: dict[str, bytes] = {}

    def take(name: str) -> None:
        if name in chosen or (name not in found and name in built_in):
            return
        if name not in found:
            sys.exit(f"This kernel has no module {name}: the machine cannot be made from it.")
        data = content(found[name])
        listed = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in (listed[1].decode() if listed else "").split(","):
            if needed:
                take(plain(needed))
        chosen[name] = data

    for name in MODULES:
        take(plain(name))
    return chosen


def main(unpacked: Path, out: Path) -> None:
    """Write the archive."""
    modules = wanted(unpacked / "lib" / "modules")
    entries = [(name, S_FOLDER, b"") for name in FOLDERS]
    entries += [("bin/busybox", S_PROGRAM, (unpacked / "bin" / "busybox").read_bytes())]
    entries += [("bin/sh", S_LINK, b"busybox")]
    entries += [("init", S_PROGRAM, Path(__file__).with_name("init").read_bytes())]
    entries += [(f"modules/{name}", S_PROGRAM, data) for name, data in modules.items()]
    entries += [("modules/order", S_PROGRAM, "\n".join(modules).encode() + b"\n")]
    draft = out.with_suffix(".draft")
    draft.write_bytes(gzip.compress(archived(entries), 1))
    draft.replace(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
