"""Keys, each for one use: sealing, signing envelopes, signing receipts, signing messages.

A private key is kept as one 32-byte seed. For the hybrid KEM the seed is stretched with SHAKE256 to the
64-byte ML-KEM-768 seed and the 32-byte X25519 key, because its key objects cannot be written out.
Nothing here shows a secret in its `repr`.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from wire_format.canonical import decode, encode
from wire_format.errors import MalformedPacket, Misconfigured, Untrusted

SEED_BYTES: Final = 32
KEY_ID_BYTES: Final = 16
_ML_KEM_SEED: Final = 64
_ML_KEM_PUBLIC: Final = 1184

HpkePrivateObject = X25519PrivateKey | MLKEM768X25519PrivateKey
HpkePublicObject = X25519PublicKey | MLKEM768X25519PublicKey


class Kem(StrEnum):
    """Key encapsulation of a recipient key. Quantum-resistant and classical are never mixed in a message."""

    MLKEM768_X25519 = "mlkem768-x25519"
    X25519 = "x25519"


def _key_id(use: str, raw: bytes) -> bytes:
    return hashlib.sha256(use.encode() + b"\0" + raw).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True)
class VerifyKey:
    """Ed25519 public key, 32 bytes."""

    raw: bytes

    @property
    def key_id(self) -> bytes:
        """16 bytes: truncated SHA-256 of use and key."""
        return _key_id("ed25519", self.raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `Untrusted` if `signature` is not this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise Untrusted("The signature does not belong to this message and key.") from error


@dataclass(frozen=True)
class SigningKey:
    """Ed25519 private key, kept as its 32-byte seed."""

    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key."""
        return cls(os.urandom(SEED_BYTES))

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def public(self) -> VerifyKey:
        """The key that verifies."""
        return VerifyKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._key.sign(message)


@dataclass(frozen=True)
class SealKey:
    """Public HPKE key of a recipient: 1216 bytes (ML-KEM-768, then X25519) or 32 (X25519)."""

    kem: Kem
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """16 bytes: truncated SHA-256 of use and key."""
        return _key_id(self.kem, self.raw)

    @cached_property
    def object(self) -> HpkePublicObject:
        """The key as the HPKE implementation takes it; raises `Misconfigured` for bytes that are no key."""
        try:
            if self.kem is Kem.X25519:
                return X25519PublicKey.from_public_bytes(self.raw)
            # A wrong length is refused by one of the two parts.
            return MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.raw[:_ML_KEM_PUBLIC]),
                X25519PublicKey.from_public_bytes(self.raw[_ML_KEM_PUBLIC:]),
            )
        except ValueError as error:
            raise Misconfigured(f"The recipient key is no {self.kem} key: enrol it again.") from error


@dataclass(frozen=True)
class OpenKey:
    """Private HPKE key of a recipient, kept as its 32-byte seed."""

    kem: Kem
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, kem: Kem = Kem.MLKEM768_X25519) -> "OpenKey":
        """Make a new key."""
        return cls(kem, os.urandom(SEED_BYTES))

    @cached_property
    def _parts(self) -> tuple[MLKEM768PrivateKey | None, X25519PrivateKey]:
        if self.kem is Kem.X25519:
            return None, X25519PrivateKey.from_private_bytes(self.seed)
        stretched = hashlib.shake_256(self.seed).digest(_ML_KEM_SEED + SEED_BYTES)
        return (
            MLKEM768PrivateKey.from_seed_bytes(stretched[:_ML_KEM_SEED]),
            X25519PrivateKey.from_private_bytes(stretched[_ML_KEM_SEED:]),
        )

    @cached_property
    def object(self) -> HpkePrivateObject:
        """The key as the HPKE implementation takes it."""
        lattice, curve = self._parts
        return curve if lattice is None else MLKEM768X25519PrivateKey(lattice, curve)

    @cached_property
    def public(self) -> SealKey:
        """The key that others seal to."""
        lattice, curve = self._parts
        head = b"" if lattice is None else lattice.public_key().public_bytes_raw()
        return SealKey(self.kem, head + curve.public_key().public_bytes_raw())


@dataclass(frozen=True)
class GatewayPublic:
    """What a hospital knows of a gateway."""

    signing: VerifyKey
    sealing: SealKey


@dataclass(frozen=True)
class GatewayKeys:
    """A gateway's private keys."""

    signing: SigningKey
    opening: OpenKey

    @classmethod
    def generate(cls, kem: Kem = Kem.MLKEM768_X25519) -> "GatewayKeys":
        """Make a new set."""
        return cls(SigningKey.generate(), OpenKey.generate(kem))

    @property
    def public(self) -> GatewayPublic:
        """What may be shown."""
        return GatewayPublic(self.signing.public, self.opening.public)


@dataclass(frozen=True)
class BridgePublic:
    """What a gateway knows of its hospital."""

    sealing: SealKey
    receipts: VerifyKey
    messages: VerifyKey


@dataclass(frozen=True)
class BridgeKeys:
    """A bridge's private keys. `retired` still open what was sealed before a change (400 days)."""

    opening: OpenKey
    receipts: SigningKey
    messages: SigningKey
    retired: tuple[OpenKey, ...] = ()

    @classmethod
    def generate(cls, kem: Kem = Kem.MLKEM768_X25519) -> "BridgeKeys":
        """Make a new set."""
        return cls(OpenKey.generate(kem), SigningKey.generate(), SigningKey.generate())

    @property
    def public(self) -> BridgePublic:
        """What may be shown."""
        return BridgePublic(self.opening.public, self.receipts.public, self.messages.public)

    @cached_property
    def by_id(self) -> dict[bytes, OpenKey]:
        """Every key that may open an envelope, by key id."""
        return {key.public.key_id: key for key in (self.opening, *self.retired)}


@dataclass(frozen=True)
class PublisherPublic:
    """What a gateway knows of those who publish device profiles."""

    profiles: VerifyKey


@dataclass(frozen=True)
class PublisherKeys:
    """The key that bundles of profiles are signed with."""

    profiles: SigningKey

    @classmethod
    def generate(cls) -> "PublisherKeys":
        """Make a new one."""
        return cls(SigningKey.generate())

    @property
    def public(self) -> PublisherPublic:
        """What may be shown."""
        return PublisherPublic(self.profiles.public)


KeySet = GatewayKeys | GatewayPublic | BridgeKeys | BridgePublic | PublisherKeys | PublisherPublic


def dump_keys(keys: KeySet) -> bytes:
    """Return the bytes of a key file. Those of private keys belong into a 0600 file and nowhere else."""
    body: dict[str, Any]
    match keys:
        case GatewayKeys():
            body = {"signing": keys.signing.seed, "opening": _pair(keys.opening)}
        case GatewayPublic():
            body = {"signing": keys.signing.raw, "sealing": _pair(keys.sealing)}
        case BridgeKeys():
            body = {
                "opening": _pair(keys.opening),
                "receipts": keys.receipts.seed,
                "messages": keys.messages.seed,
                "retired": [_pair(key) for key in keys.retired],
            }
        case BridgePublic():
            body = {
                "sealing": _pair(keys.sealing),
                "receipts": keys.receipts.raw,
                "messages": keys.messages.raw,
            }
        case PublisherKeys():
            body = {"profiles": keys.profiles.seed}
        case PublisherPublic():
            body = {"profiles": keys.profiles.raw}
    return encode({"kiteline": type(keys).__name__, **body})


_K = TypeVar("_K", bound=KeySet)


def load_keys(data: bytes, kind: type[_K]) -> _K:
    """Return the keys of a key file of `kind`; raise `Misconfigured` if it is something else."""
    try:
        body = decode(data)
        keys = _LOADERS[body["kiteline"]](body)
    except (MalformedPacket, KeyError, TypeError, ValueError) as error:
        raise Misconfigured(f"This is no key file of {kind.__name__}: make or copy the right one.") from error
    if not isinstance(keys, kind):
        raise Misconfigured(f"This is no key file of {kind.__name__}: make or copy the right one.")
    return keys


def _pair(key: OpenKey | SealKey) -> list[str | bytes]:
    return [key.kem.value, key.seed if isinstance(key, OpenKey) else key.raw]


def _bytes(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise TypeError("a key has another length")
    return value


def _open_key(pair: list[Any]) -> OpenKey:
    return OpenKey(Kem(pair[0]), _bytes(pair[1], SEED_BYTES))


def _seal_key(pair: list[Any]) -> SealKey:
    key = SealKey(Kem(pair[0]), pair[1])
    _ = key.object  # a key that cannot be used is found now, not when a reading waits
    return key


def _signing(seed: object) -> SigningKey:
    return SigningKey(_bytes(seed, SEED_BYTES))


def _verify(raw: object) -> VerifyKey:
    return VerifyKey(_bytes(raw, SEED_BYTES))


_LOADERS: Final[dict[str, Callable[[dict[str, Any]], KeySet]]] = {
    "GatewayKeys": lambda b: GatewayKeys(_signing(b["signing"]), _open_key(b["opening"])),
    "GatewayPublic": lambda b: GatewayPublic(_verify(b["signing"]), _seal_key(b["sealing"])),
    "BridgeKeys": lambda b: BridgeKeys(
        _open_key(b["opening"]),
        _signing(b["receipts"]),
        _signing(b["messages"]),
        tuple(_open_key(pair) for pair in b["retired"]),
    ),
    "BridgePublic": lambda b: BridgePublic(
        _seal_key(b["sealing"]), _verify(b["receipts"]), _verify(b["messages"])
    ),
    "PublisherKeys": lambda b: PublisherKeys(_signing(b["profiles"])),
    "PublisherPublic": lambda b: PublisherPublic(_verify(b["profiles"])),
}
