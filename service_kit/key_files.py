"""Key files: private ones are 0600, of whoever runs the process, and refused otherwise."""

import os
import stat
from pathlib import Path
from typing import TypeVar

from wire_format.errors import Misconfigured
from wire_format.keys import (
    BridgeKeys,
    BridgePublic,
    GatewayKeys,
    GatewayPublic,
    PublisherKeys,
    PublisherPublic,
    dump_keys,
    load_keys,
)

CREDENTIALS = Path("/run/credentials")
"""Where systemd shows to each unit what it was handed; nobody else makes folders there."""

_Private = TypeVar("_Private", GatewayKeys, BridgeKeys, PublisherKeys)
_Public = TypeVar("_Public", GatewayPublic, BridgePublic, PublisherPublic)
_Any = TypeVar("_Any", GatewayKeys, GatewayPublic, BridgeKeys, BridgePublic, PublisherKeys, PublisherPublic)


def read_private(path: Path, kind: type[_Private]) -> _Private:
    """Return private keys; raise `Misconfigured` if anybody else may read the file."""
    data = _read(path)
    if _is_credential(path):
        return _loaded(data, path, kind)
    info = path.stat()
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise Misconfigured(f"Others may read the key file {path}: `chmod 600` it, and renew the keys.")
    if info.st_uid not in {os.geteuid(), 0}:
        raise Misconfigured(f"The key file {path} belongs to another user: run this as its owner.")
    return _loaded(data, path, kind)


def _is_credential(path: Path) -> bool:
    """Tell whether systemd handed a file to one service alone (systemd.exec(5), LoadCredential=).

    It does so by an access control list, which shows as a permission of the group, or makes the service its
    owner. Of others only root can read it: an administrator's command beside the service.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    own = folder is not None and path.parent == Path(folder)
    return own or path.resolve().parent.parent == CREDENTIALS


def read_public(path: Path, kind: type[_Public]) -> _Public:
    """Return the other side's public keys."""
    return _loaded(_read(path), path, kind)


def write_private(path: Path, keys: GatewayKeys | BridgeKeys | PublisherKeys) -> None:
    """Write private keys to a new 0600 file, durably. An existing file is never overwritten."""
    _write(path, dump_keys(keys), 0o600)


def write_public(path: Path, keys: GatewayPublic | BridgePublic | PublisherPublic) -> None:
    """Write the part that the other side is given."""
    _write(path, dump_keys(keys), 0o644)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(
            f"The key file {path} cannot be read ({error.strerror}): make keys with `edge-agent keys` at "
            "home or `cloud-bridge keys` at the hospital, and exchange the public files."
        ) from error


def _loaded(data: bytes, path: Path, kind: type[_Any]) -> _Any:
    try:
        return load_keys(data, kind)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise Misconfigured(f"{path} exists: a key is never overwritten; move it away first.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
