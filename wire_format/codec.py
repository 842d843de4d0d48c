"""Payload of an envelope: a versioned list of typed items, to bytes and back.

Layout (CBOR, deterministic): {"v": 1, "items": [[type, body], ...]}. A body is a map of the item's fields;
an item of a type that this version does not know is kept as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from wire_format.base import Wire, plain
from wire_format.canonical import decode, encode
from wire_format.errors import Rejected
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, DeviceEvent, GatewayEvent, Redating, Undecodable

VERSION: Final = 1
MAX_ITEMS: Final = 200


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """An item of a type that a newer sender knows. Kept, so that nothing is lost between versions."""

    type: str
    body: Any


Item = Measurement | Assignment | Redating | Undecodable | DeviceEvent | GatewayEvent | UnknownItem

ITEM_TYPES: Final[dict[str, type[Wire]]] = {
    "measurement": Measurement,
    "assignment": Assignment,
    "redating": Redating,
    "undecodable": Undecodable,
    "device_event": DeviceEvent,
    "gateway_event": GatewayEvent,
}
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_NAMES: Final = {model: name for name, model in ITEM_TYPES.items()}


def encode_items(items: Sequence[Item]) -> bytes:
    """Return the payload bytes of `items`, in their order."""
    return encode({"v": VERSION, "items": [_pair(item) for item in items]})


def decode_items(data: bytes) -> tuple[Item, ...]:
    """Return the items of a payload, in their order.

    Raises `MalformedPacket` for bytes that are no payload, `Rejected` for another version or for an item
    that breaks its schema: the sender must be corrected, the bytes are kept meanwhile.
    """
    payload = decode(data)
    if not isinstance(payload, dict) or set(payload) != {"v", "items"}:
        raise Rejected("The payload has not the two fields v and items.")
    if payload["v"] != VERSION or isinstance(payload["v"], bool):
        raise Rejected(f"The payload is of version {payload['v']!r}; this side reads {VERSION}.")
    pairs = payload["items"]
    if not isinstance(pairs, list) or len(pairs) > MAX_ITEMS:
        raise Rejected(f"The payload's items are no list, or more than {MAX_ITEMS}.")
    return tuple(_item(pair) for pair in pairs)


def _pair(item: Item) -> list[Any]:
    if isinstance(item, UnknownItem):
        return [item.type, item.body]
    return [_NAMES[type(item)], plain(item)]


def _item(pair: object) -> Item:
    match pair:
        case [str(name), body]:
            model = ITEM_TYPES.get(name)
        case _:
            raise Rejected("An item of the payload is not a pair of type and body.")
    if model is None:
        if not _TYPE.fullmatch(name):
            raise Rejected("An item's type is no name: use 1 to 64 small letters, digits or _.")
        return UnknownItem(name, body)
    try:
        return model.model_validate(body)  # type: ignore[return-value]  # ITEM_TYPES holds exactly Item's models
    except ValidationError as error:
        fields = ", ".join(".".join(str(p) for p in e["loc"]) or name for e in error.errors()[:5])
        raise Rejected(f"An item of type {name} breaks its schema at: {fields}.") from error
