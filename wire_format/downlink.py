"""Downlink: what the hospital says to one home. Sealed to the gateway's own key, signed by the bridge.

The signed header carries gateway, sequence, issue and expiry: an old or replayed message is refused, and
the broker learns neither what is said nor about whom.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pydantic import Field, ValidationError

from wire_format import cose
from wire_format.base import Utc, Wire, plain
from wire_format.canonical import decode, encode
from wire_format.errors import Rejected
from wire_format.keys import Kem, OpenKey, SealKey, SigningKey, VerifyKey
from wire_format.nomenclature import Quantity

CONTENT_TYPE: Final = "application/vnd.kiteline.downlink+cbor"
_FIELDS: Final[dict[str, type]] = {
    "gateway": str,
    "sequence": int,
    "issued": dt.datetime,
    "expires": dt.datetime,
}


class SeenByCareTeam(Wire):
    """A person of the care team has seen an alert: "the nurse has seen it"."""

    alert_id: UUID
    role: str
    at: Utc


class ResendFrom(Wire):
    """Publish again everything from `sequence` on: the hospital was restored from an older backup."""

    outbox_id: UUID
    sequence: int = Field(ge=1)


class Share(Wire):
    """One organization beside the hospital: what of one person of the home is sealed to it, until when."""

    person: str
    organization: str
    kem: Kem
    key: bytes
    quantities: tuple[Quantity, ...]
    until: Utc | None = None

    @property
    def recipient(self) -> SealKey:
        """The key to seal to."""
        return SealKey(self.kem, self.key)


class Recipients(Wire):
    """Whom the home seals to beside the hospital from now on: all of it. What is not listed ends.

    It ends by itself at `until`: a home that no longer hears the hospital goes back to sealing to it alone.
    """

    shares: tuple[Share, ...]
    until: Utc


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a kind that a newer hospital knows."""

    kind: str
    body: Any


Known = SeenByCareTeam | ResendFrom | Recipients
Message = Known | UnknownMessage

_KINDS: Final[dict[str, type[Known]]] = {
    "recipients": Recipients,
    "seen_by_care_team": SeenByCareTeam,
    "resend_from": ResendFrom,
}
_NAMES: Final = {model: name for name, model in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class DownlinkHeader:
    """What is signed in the open. `sequence` rises with each message to this gateway."""

    gateway: str
    sequence: int
    issued_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Delivered:
    """A verified, opened message."""

    header: DownlinkHeader
    message: Message


def seal_downlink(message: Message, header: DownlinkHeader, signer: SigningKey, recipient: SealKey) -> bytes:
    """Seal a message to one gateway."""
    fields = {
        "gateway": header.gateway,
        "sequence": header.sequence,
        "issued": header.issued_at,
        "expires": header.expires_at,
    }
    protected = cose.protected_header(CONTENT_TYPE, signer, fields)
    if isinstance(message, UnknownMessage):
        pair = [message.kind, message.body]
    else:
        pair = [_NAMES[type(message)], plain(message)]
    return cose.sign1(protected, cose.encrypt(encode(pair), [recipient], protected), signer)


def open_downlink(
    data: bytes, gateway: str, signer: VerifyKey, key: OpenKey, now: dt.datetime | None
) -> Delivered:
    """Verify and open a message for `gateway`.

    `now` is None while the gateway does not know the time: then expiry cannot be judged, and is not. Whether
    the sequence was seen before is the caller's to know. Raises `Rejected` or `Untrusted`.
    """
    signed = cose.parse_sign1(data, CONTENT_TYPE, _FIELDS)
    signed.verify(signer)
    fields = signed.header
    header = DownlinkHeader(fields["gateway"], fields["sequence"], fields["issued"], fields["expires"])
    if header.gateway != gateway:
        raise Rejected(f"The message is for the gateway {header.gateway}, not for {gateway}.")
    if now is not None and now >= header.expires_at:
        raise Rejected(f"The message {header.sequence} expired.")
    plaintext = cose.decrypt(signed.payload, {key.public.key_id: key}, signed.protected)
    return Delivered(header, _message(decode(plaintext)))


def _message(pair: object) -> Message:
    match pair:
        case [str(kind), body]:
            model = _KINDS.get(kind)
        case _:
            raise Rejected("The message is not a pair of kind and body.")
    if model is None:
        return UnknownMessage(kind, body)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Rejected(f"The message of kind {kind} breaks its schema.") from error
