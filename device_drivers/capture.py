"""Captures: what a device and a host said to each other, as a file. A bug report becomes a regression test.

One format serves published packets, recorded sessions and profiles' own vectors. A profile's captures lie
beside it, as `<maker>/<model>.capture.json`. The exchange is in order; `at_ms` is for the reader alone.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from device_drivers.driver import Reading
from device_drivers.profile import PACKAGE
from wire_format.base import Wire
from wire_format.errors import Misconfigured
from wire_format.measurement import Component, Measurement
from wire_format.statements import Undecodable

ENDING: Final = ".capture.json"


class Kind(StrEnum):
    """One thing that happened on a link, as seen by the host."""

    READ = "read"  # the host read `on`, the device answered `hex`
    WRITE = "write"  # the host wrote `hex` to `on`
    SUBSCRIBE = "subscribe"  # the host subscribed to `on`
    NOTIFY = "notify"  # the device sent `hex` from `on`, notified or indicated
    REFUSED = "refused"  # the device refused the request before it, `code` is the ATT error
    CLOSED = "closed"  # the device closed the link
    ADVERT = "advert"  # the device advertised `service_data` and `manufacturer_data`
    SENT = "sent"  # serial: the host sent `hex`
    RECEIVED = "received"  # serial: the device sent `hex`


def _hex(text: str) -> str:
    return bytes.fromhex(text).hex()


Hex = Annotated[str, AfterValidator(_hex)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exchange(_Part):
    """One event of a link.

    A host's `optional` write may be left out (setting a clock that is right); one that `varies` is recognised
    whatever its bytes (they hold the time). In an advertisement `on` is the device's name.
    """

    kind: Kind
    on: str | None = None
    hex: Hex | None = None
    code: int | None = None
    service_data: dict[str, Hex] = {}
    manufacturer_data: dict[int, Hex] = {}
    optional: bool = False
    varies: bool = False
    at_ms: int | None = None

    @property
    def data(self) -> bytes:
        """The bytes that went over."""
        return bytes.fromhex(self.hex or "")


class Origin(StrEnum):
    """Where the bytes come from."""

    REAL = "real"  # a device said them
    PROTOCOL_CONSTANT = "protocol_constant"  # a document or another program's source gives them
    SYNTHETIC = "synthetic"  # made up after a specification


class Session(_Part):
    """One visit, and what must come of it: `expect` holds, item by item, what `summary` must at least say.

    `services` is what the device offers: for each service its characteristics with their properties.
    """

    id: str
    origin: Origin
    source: str
    note: str = ""
    bind_key: Hex | None = None
    consents: dict[int, int] = {}
    address: str | None = None
    services: dict[str, dict[str, tuple[str, ...]]] = {}
    exchange: tuple[Exchange, ...] = Field(min_length=1)
    expect: tuple[dict[str, Any], ...] = ()


class Capture(_Part):
    """A file of sessions with one kind of device."""

    format: Literal["kiteline-capture-1"]
    profile: str
    device: str
    sessions: tuple[Session, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({session.id for session in self.sessions}) < len(self.sessions):
            raise ValueError("two sessions have one id")
        return self


def parse_capture(name: str, content: bytes) -> Capture:
    """Return a capture of a file's bytes; raise `Misconfigured` naming what is wrong."""
    try:
        return Capture.model_validate_json(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Misconfigured(f"The capture {name} is wrong. {wrong}.") from error


def capture_of(profile: str, root: Traversable | None = None) -> Capture | None:
    """Return the capture that lies beside a profile; None if there is none."""
    file = root or files(PACKAGE)
    for part in f"{profile}{ENDING}".split("/"):
        file = file / part
    return parse_capture(profile, file.read_bytes()) if file.is_file() else None


def written(capture: Capture) -> str:
    """Return a capture as the text of its file."""
    shown = capture.model_dump(mode="json", exclude_defaults=True) | {"format": capture.format}
    return json.dumps(shown, ensure_ascii=False, indent=1) + "\n"


def summary(reading: Reading) -> dict[str, Any]:
    """Return what a reading says, as `expect` of a capture writes it."""
    if isinstance(reading, Undecodable):
        return {
            "kind": "undecodable",
            "source": reading.raw.source,
            "hex": reading.raw.data.hex(),
            "reason": reading.reason,
        }
    if not isinstance(reading, Measurement):
        return {"kind": "device_event", "event": reading.kind.value, "detail": reading.detail}
    said = {
        "kind": "measurement",
        "quantity": reading.quantity.value,
        "values": {part.term.value: _value(part) for part in reading.components},
        "stated": None if reading.time.stated is None else reading.time.stated.isoformat(),
        "user": reading.user,
        "failure": None if reading.failure is None else reading.failure.value,
        "record": None if reading.record is None else reading.record.sequence,
        "remarks": [remark.value for remark in reading.remarks],
    }
    return said | {"context": {} if reading.context is None else _context(reading.context)}


def _value(part: Component) -> str:
    return f"absent: {part.absent}" if part.value is None else f"{part.value:f} {part.unit.value}"


def _context(context: Wire) -> dict[str, Any]:
    said: dict[str, Any] = context.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in said.items() if value is not None}


def differences(readings: list[Reading], expect: tuple[Mapping[str, Any], ...]) -> list[str]:
    """Return in words where readings are not what a session expects; empty if they are.

    Device events count only if the session expects some.
    """
    wanted = [dict(one) for one in expect]
    events = any(one.get("kind") == "device_event" for one in wanted)
    found = [s for s in map(summary, readings) if events or s["kind"] != "device_event"]
    wrong = [] if len(found) == len(wanted) else [f"{len(found)} items, not {len(wanted)}"]
    for number, (has, want) in enumerate(zip(found, wanted, strict=False), start=1):
        wrong += [f"item {number}: {text}" for text in _missing(has, want)]
    return wrong


def _missing(has: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    wrong = []
    for key, value in want.items():
        if isinstance(value, dict) and isinstance(has.get(key), dict):
            wrong += [f"{key}.{text}" for text in _missing(has[key], value)]
        elif has.get(key) != value:
            wrong.append(f"{key} is {has.get(key)!r}, not {value!r}")
    return wrong
