"""Transtek scales: a challenge that is answered, a clock that is set, and weights that have settled."""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from device_drivers.catalogue import Catalogue
from device_drivers.link import AttError
from device_drivers.profile import ClockWrite, Decode, long_uuid
from device_drivers.vendors.transtek import TranstekWeight
from wire_format.errors import Misconfigured
from wire_format.nomenclature import Term
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from visiting import NOW, measured, visited

ADE = Catalogue().profiles["ade/ba1600"]


@dataclass
class Scale:
    """Asks a challenge once it is listened to, then sends `weights`; it closes, or stays open and silent."""

    weights: list[bytes]
    challenge: bytes | None = bytes.fromhex("a10100b899")
    refused: frozenset[int] = frozenset()
    closes: bool = True
    written: list[bytes] = field(default_factory=list)
    handlers: dict[str, Callable[[bytes], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def characteristics(self) -> frozenset[str]:
        return frozenset(map(long_uuid, ("8A24", "8A81", "8A82")))

    async def read(self, characteristic: str) -> bytes:
        raise AttError(characteristic, 0x0A)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        self.handlers[characteristic] = handler
        if characteristic == long_uuid("8A82"):
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if self.challenge is not None:
            self.handlers[long_uuid("8A82")](self.challenge)
        else:
            self._weigh()

    def _weigh(self) -> None:
        for weight in self.weights:
            self.handlers[long_uuid("8A24")](weight)
        if self.closes and not self.closed.done():
            self.closed.set_result(None)

    async def wait_closed(self) -> None:
        await asyncio.shield(self.closed)

    async def write(self, characteristic: str, data: bytes) -> None:
        assert characteristic == long_uuid("8A81")
        self.written.append(data)
        if data[0] in self.refused:
            raise AttError("a write", 0x80)
        if data == b"\x22":
            asyncio.get_running_loop().call_soon(self._weigh)


WEIGHT = bytes.fromhex("1f681f00fe652ab21e000000006a1500ff011900")


def test_a_transtek_scale_is_answered_and_its_clock_set() -> None:
    sink, ended, scale = visited(ADE, lambda: Scale([WEIGHT]))
    assert ended is None
    (found,) = measured(sink)
    assert found.value(Term.BODY_WEIGHT) == Decimal("80.40")
    assert found.user == 1
    assert isinstance(scale, Scale)
    seconds = int((NOW - dt.datetime(2010, 1, 1, tzinfo=dt.UTC)).total_seconds())
    assert scale.written == [bytes.fromhex("200100b899"), b"\x02" + seconds.to_bytes(4, "little"), b"\x22"]
    (told,) = [one for one in sink.readings if isinstance(one, DeviceEvent)]
    assert told.kind is DeviceEventKind.CLOCK_SET


def test_a_transtek_clock_that_is_refused_or_not_to_be_set() -> None:
    sink, ended, _ = visited(ADE, lambda: Scale([WEIGHT], refused=frozenset({2})))
    assert ended is None
    (told,) = [one for one in sink.readings if isinstance(one, DeviceEvent)]
    assert told.kind is DeviceEventKind.CLOCK_REFUSED
    never = ADE.model_copy(update={"clock": ADE.clock.model_copy(update={"write": ClockWrite.NEVER})})
    quiet, _, scale = visited(never, lambda: Scale([WEIGHT], closes=False))
    assert len(measured(quiet)) == 1
    assert isinstance(scale, Scale)
    assert len(scale.written) == 2


def test_a_transtek_scale_that_refuses_the_answer_ends_the_visit() -> None:
    _, ended, _ = visited(ADE, lambda: Scale([WEIGHT], refused=frozenset({0x20})))
    assert isinstance(ended, AttError)


def test_a_transtek_weight_that_has_not_settled_or_is_not_whole() -> None:
    unsettled = WEIGHT[:18] + b"\x18\x00"
    odd = bytes.fromhex("a10100")
    sink, ended, _ = visited(ADE, lambda: Scale([unsettled, WEIGHT[:9], b""], challenge=None))
    assert ended is None
    assert measured(sink) == []
    assert len([one for one in sink.readings if isinstance(one, Undecodable)]) == 2
    sink, _, _ = visited(ADE, lambda: Scale([], challenge=odd))
    assert [one.raw.data for one in sink.readings if isinstance(one, Undecodable)] == [odd]
    least = bytes.fromhex("00681f00fe")
    assert TranstekWeight.from_bytes(least).stable
    assert TranstekWeight.from_bytes(least).decoded(Decode()).stamp is None
    for whole in (WEIGHT, least):
        assert bytes(TranstekWeight.from_bytes(whole)) == whole
    other = ADE.model_copy(update={"protocol": {"password": "00", "closing": "22"}})
    _, ended, _ = visited(other, lambda: Scale([WEIGHT]))
    assert isinstance(ended, Misconfigured)
    assert "password" in str(ended)


class Endless(Scale):
    """Weighs every second, and never goes."""

    def _weigh(self) -> None:
        self.handlers[long_uuid("8A24")](WEIGHT)
        asyncio.get_running_loop().call_later(1, self._weigh)


def test_a_transtek_scale_that_sends_without_end_is_left() -> None:
    sink, ended, _ = visited(ADE, lambda: Endless([]))
    assert ended is None
    assert len({m.measurement_id for m in measured(sink)}) == 1
