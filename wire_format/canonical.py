"""Deterministic CBOR (RFC 8949 section 4.2): one value has exactly one encoding, and no other is accepted."""

from typing import Any

import cbor2

from wire_format.errors import MalformedPacket

MAX_BYTES = 1 << 20
"""No message of ours is larger; a longer one is refused before it is parsed."""


def encode(value: Any) -> bytes:  # noqa: ANN401 - any CBOR value
    """Return the one deterministic encoding of `value`."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes, most: int = MAX_BYTES) -> Any:  # noqa: ANN401 - any CBOR value
    """Return the value of `data`, or raise `MalformedPacket` if it is not its deterministic encoding.

    The comparison catches what a lenient parser lets pass: trailing bytes, duplicate keys, indefinite
    lengths, integers longer than they need to be.
    """
    if len(data) > most:
        raise MalformedPacket(f"The message has {len(data)} bytes; at most {most} are accepted.")
    try:
        value = cbor2.loads(data)
        again = encode(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, ArithmeticError) as error:
        raise MalformedPacket(f"The message is not CBOR ({type(error).__name__}).") from error
    if again != data:
        raise MalformedPacket("The message is CBOR, but not in its deterministic form.")
    return value
