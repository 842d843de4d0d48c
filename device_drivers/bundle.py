"""Bundle: every profile and capture of one version, signed. It can replace those that come with Kiteline.

A bundle is one file (deterministic CBOR): [manifest, {path: content}]. The manifest is a COSE_Sign1 (RFC
9052, Ed25519) over version, time and the SHA-256 of each file. Pure: bytes and a pinned key in, profiles out.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from device_drivers.capture import ENDING, Origin, differences, parse_capture
from device_drivers.catalogue import Catalogue
from device_drivers.profile import PACKAGE, DeviceProfile, Evidence, parse_profile
from device_drivers.rehearsal import rehearse
from wire_format import cose
from wire_format.base import Utc, Wire, plain
from wire_format.canonical import decode, encode
from wire_format.errors import Misconfigured, Rejected
from wire_format.keys import SigningKey, VerifyKey

CONTENT_TYPE: Final = "application/vnd.kiteline.profiles+cbor"
MAX_BYTES: Final = 16 << 20
VERSION_FILE: Final = "VERSION"
_PROFILE: Final = ".toml"
_PATH: Final = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*(\.toml|\.capture\.json)")


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is no path of a profile or a capture")
    return text


class ListedFile(Wire):
    """One file of a bundle."""

    path: Annotated[str, AfterValidator(_path)]
    size: int = Field(ge=0, le=MAX_BYTES)
    sha256: bytes = Field(min_length=32, max_length=32)


class Manifest(Wire):
    """What a bundle holds. A higher `version` replaces a lower one, and never the other way round."""

    format: Literal["kiteline-bundle-1"]
    version: int = Field(ge=1)
    made_at: Utc
    files: tuple[ListedFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        paths = [one.path for one in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("the files are not in the order of their paths, or one is listed twice")
        return self


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose signature and hashes hold."""

    manifest: Manifest
    content: Mapping[str, bytes]
    digest: bytes

    @property
    def version(self) -> int:
        """Return its version."""
        return self.manifest.version

    def profiles(self) -> dict[str, DeviceProfile]:
        """Return its profiles by name; raises `Misconfigured` naming the file that is wrong."""
        return {
            path.removesuffix(_PROFILE): parse_profile(path.removesuffix(_PROFILE), data)
            for path, data in self.content.items()
            if path.endswith(_PROFILE)
        }


def built_in_version(root: Traversable | None = None) -> int:
    """Return the version of the profiles that come with Kiteline, or of a folder of profiles."""
    file = (root or files(PACKAGE)) / VERSION_FILE
    try:
        version = int(file.read_text())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file} must hold the version of the profiles: one whole number.") from error
    if version < 1:
        raise Misconfigured(f"{file} holds {version}: versions begin with 1.")
    return version


def files_of(root: Traversable | None = None) -> dict[str, bytes]:
    """Return every profile and capture below a folder, by path."""
    return dict(sorted(_found(root or files(PACKAGE), "")))


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((_PROFILE, ENDING)):
            yield f"{prefix}{entry.name}", entry.read_bytes()


def make_bundle(content: Mapping[str, bytes], version: int, made_at: dt.datetime, key: SigningKey) -> bytes:
    """Return the bytes of a signed bundle.

    Raises `Misconfigured` for what must not be signed: a path, profile or capture that is wrong, a session
    that does not give what it expects, a profile that claims more than its captures show.
    """
    try:
        manifest = Manifest(
            format="kiteline-bundle-1",
            version=version,
            made_at=made_at,
            files=tuple(_listed(path, data) for path, data in sorted(content.items())),
        )
    except ValidationError as error:
        raise Misconfigured(f"This is no bundle: {error.errors()[0]['msg']}.") from error
    signed = cose.sign1(cose.protected_header(CONTENT_TYPE, key, {}), encode(plain(manifest)), key)
    bundle = Bundle(manifest, content, hashlib.sha256(signed).digest())
    _must_hold(bundle)
    return encode([signed, dict(content)])


def _listed(path: str, data: bytes) -> ListedFile:
    return ListedFile(path=path, size=len(data), sha256=hashlib.sha256(data).digest())


def _must_hold(bundle: Bundle) -> None:
    for name, profile in Catalogue(bundle.profiles()).profiles.items():
        content = bundle.content.get(f"{name}{ENDING}")
        if content is None:
            raise Misconfigured(f"The profile {name} has no capture beside it: {name}{ENDING}.")
        sessions = parse_capture(name, content).sessions
        real = any(session.origin is Origin.REAL for session in sessions)
        if (profile.evidence is Evidence.SPECIFICATION) == real:
            raise Misconfigured(
                f"The profile {name} says {profile.evidence.value}; its capture says otherwise."
            )
        for session in sessions:
            wrong = differences(list(rehearse(profile, session).readings), session.expect)
            if wrong:
                raise Misconfigured(f"The capture of {name}, session {session.id}: {wrong[0]}.")


def open_bundle(data: bytes, key: VerifyKey) -> Bundle:
    """Return a bundle after verifying it.

    Raises `Rejected` for what is no bundle, is cut off or has another content than its manifest says, and
    `Untrusted` if the manifest is not signed by `key`.
    """
    signed, content = _parts(data)
    parsed = cose.parse_sign1(signed, CONTENT_TYPE, {})
    parsed.verify(key)
    try:
        manifest = Manifest.model_validate(decode(parsed.payload))
    except ValidationError as error:
        raise Rejected("The manifest of the bundle breaks its schema.") from error
    if tuple(_hashes(content)) != tuple((f.path, f.size, f.sha256) for f in manifest.files):
        raise Rejected("The files of the bundle are not those that its manifest was signed for.")
    return Bundle(manifest, content, hashlib.sha256(signed).digest())


def _parts(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    value: Any = decode(data, MAX_BYTES)
    match value:
        case [bytes(signed), dict(content)] if all(
            isinstance(path, str) and isinstance(part, bytes) for path, part in content.items()
        ):
            return signed, content
    raise Rejected("This is no bundle of profiles.")


def _hashes(content: Mapping[str, bytes]) -> Iterator[tuple[str, int, bytes]]:
    for path, data in sorted(content.items()):
        yield path, len(data), hashlib.sha256(data).digest()
