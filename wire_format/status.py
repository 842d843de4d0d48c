"""Status: what a gateway tells anyone on the broker: that it is there. Retained; also its last will.

It is said at each connection and repeated every quarter of an hour. `since` is when it was said; of a last
will, when the connection began: so two losses can be told apart. Nobody signs it: nothing is decided on it.
It is readable by the broker and therefore says nothing of persons, devices or values.
"""

from enum import StrEnum

from pydantic import Field, ValidationError

from wire_format.base import Utc, Wire, plain
from wire_format.canonical import decode, encode
from wire_format.errors import Rejected


class Presence(StrEnum):
    """Whether the gateway holds its connection."""

    ONLINE = "online"
    OFFLINE = "offline"  # it said goodbye
    LOST = "lost"  # the broker speaks for it: the last will


class Status(Wire):
    """One status message; `waiting` counts envelopes without a receipt."""

    presence: Presence
    software: str
    since: Utc
    waiting: int | None = Field(default=None, ge=0)


def encode_status(status: Status) -> bytes:
    """Return the bytes of a status message."""
    return encode(plain(status))


def decode_status(data: bytes) -> Status:
    """Return the status of `data`, or raise `Rejected`."""
    try:
        return Status.model_validate(decode(data))
    except ValidationError as error:
        raise Rejected("The status message breaks its schema.") from error
