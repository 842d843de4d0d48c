"""Envelope: one commit of a home, about one person, sealed to its recipients and signed by its gateway.

COSE_Sign1 by the gateway over COSE_Encrypt. The signed header carries gateway, outbox, sequence, time and
the hash of the envelope before: the broker sees size and topic, the bridge sees gaps, forks and replays.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from uuid import UUID

from wire_format import cose
from wire_format.cose import ALGORITHM_NUMBERS, Signed
from wire_format.errors import Rejected
from wire_format.keys import Kem, OpenKey, SealKey, SigningKey, VerifyKey

CONTENT_TYPE: Final = "application/vnd.kiteline.envelope+cbor"
DIGEST_BYTES: Final = 32
LAST_SEQUENCE: Final = 2**63 - 2
"""Databases count to one more, and are asked for the one after as well."""
FIRST_PREVIOUS: Final = bytes(DIGEST_BYTES)
"""`previous` of the first envelope of an outbox."""

_FIELDS: Final[dict[str, type]] = {
    "gateway": str,
    "outbox": UUID,
    "sequence": int,
    "sent": dt.datetime,
    "previous": bytes,
}

SignerLookup = Callable[[str], VerifyKey]
"""Gateway name to its signing key; raises `Untrusted` for a gateway that is not enrolled."""


@dataclass(frozen=True, slots=True)
class EnvelopeHeader:
    """What is signed in the open. `sequence` counts from 1 within (gateway, outbox_id); `sent_at` is UTC."""

    gateway: str
    outbox_id: UUID
    sequence: int
    sent_at: dt.datetime
    previous: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope ready to be kept and sent; `digest` is the SHA-256 of `data`."""

    data: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified and opened envelope."""

    header: EnvelopeHeader
    digest: bytes
    payload: bytes


class Chain(Enum):
    """What a sequence number is to someone who may have seen it before."""

    NEW = "new"  # never seen
    REPEATED = "repeated"  # the same envelope again: idempotent, receipted again
    FORKED = "forked"  # another envelope under the same number: a cloned card, a restored backup


def chain_verdict(known: bytes | None, digest: bytes) -> Chain:
    """Compare the digest known for a sequence number with the one that came."""
    if known is None:
        return Chain.NEW
    return Chain.REPEATED if known == digest else Chain.FORKED


def digest_of(data: bytes) -> bytes:
    """Return the SHA-256 that names an envelope."""
    return hashlib.sha256(data).digest()


def seal(
    payload: bytes,
    header: EnvelopeHeader,
    signer: SigningKey,
    recipients: Sequence[SealKey],
    numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS,
) -> Sealed:
    """Encrypt `payload` to `recipients` and sign it with its header.

    Raises `Misconfigured` if the recipients are mixed, none or too many, `Rejected` if the header is wrong.
    """
    _check(header)
    protected = cose.protected_header(CONTENT_TYPE, signer, _fields(header))
    inner = cose.encrypt(payload, recipients, protected, numbers)
    data = cose.sign1(protected, inner, signer)
    return Sealed(data, digest_of(data))


def read_header(data: bytes, signers: SignerLookup) -> EnvelopeHeader:
    """Return the header of an envelope after verifying its signature; nothing is opened.

    Raises `Rejected` (laid out wrongly) or `Untrusted` (unknown gateway, wrong signature).
    """
    return _verified(data, signers)[0]


def recipients_of(data: bytes, numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS) -> frozenset[bytes]:
    """Return the ids of the keys an envelope is sealed to, not verified, not opened; raises `Rejected`."""
    return cose.recipient_ids(cose.parse_sign1(data, CONTENT_TYPE, _FIELDS).payload, numbers)


def open_sealed(
    data: bytes,
    signers: SignerLookup,
    keys: Mapping[bytes, OpenKey],
    numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS,
) -> Opened:
    """Verify and open an envelope, all or nothing.

    `keys` are our recipient keys by key id. Raises `Rejected` if it is laid out wrongly or not for us,
    `Untrusted` if a signature or an authentication tag does not hold.
    """
    header, signed = _verified(data, signers)
    payload = cose.decrypt(signed.payload, keys, signed.protected, numbers)
    return Opened(header, digest_of(data), payload)


def _verified(data: bytes, signers: SignerLookup) -> tuple[EnvelopeHeader, Signed]:
    signed = cose.parse_sign1(data, CONTENT_TYPE, _FIELDS)
    fields = signed.header
    header = EnvelopeHeader(
        fields["gateway"], fields["outbox"], fields["sequence"], fields["sent"], fields["previous"]
    )
    _check(header)
    signed.verify(signers(header.gateway))
    return header, signed


def _fields(header: EnvelopeHeader) -> dict[str, Any]:
    return {
        "gateway": header.gateway,
        "outbox": header.outbox_id,
        "sequence": header.sequence,
        "sent": header.sent_at,
        "previous": header.previous,
    }


def _check(header: EnvelopeHeader) -> None:
    if header.sequence < 1:
        raise Rejected(f"The envelope's sequence is {header.sequence}; it counts from 1.")
    if header.sequence > LAST_SEQUENCE:
        raise Rejected("The envelope's sequence is above 2^63 - 2: no outbox comes that far.")
    if len(header.previous) != DIGEST_BYTES:
        raise Rejected(f"The envelope's previous hash has not {DIGEST_BYTES} bytes.")
    if header.sent_at.tzinfo is None:
        raise Rejected("The envelope's time has no zone.")
