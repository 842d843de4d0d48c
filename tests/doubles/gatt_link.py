"""A GATT server in memory: a second implementation of `GattLink`, driven by a script of packets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from device_drivers.driver import GatewayTime, Reading, RecordCursor, Visit
from device_drivers.link import AttError, LinkLost
from device_drivers.profile import DeviceProfile, long_uuid
from device_drivers.quantities.record_access import OpCode, Operator, Result
from wire_format.identity import device_id
from wire_format.measurement import DeviceIdentity

Packet = tuple[str, bytes]
RACP = long_uuid("2A52")


@dataclass
class ScriptedDevice:
    """Pushes `packets` once everything is subscribed, then closes; or breaks after `break_after` of them.

    With `records` it answers a Record Access Control Point: (sequence, packets of that record).
    """

    packets: Sequence[Packet] = ()
    records: Sequence[tuple[int, Sequence[Packet]]] = ()
    values: dict[str, bytes] = field(default_factory=dict)
    refused_writes: frozenset[str] = frozenset()
    break_after: int | None = None
    written: list[Packet] = field(default_factory=list)
    handlers: dict[str, Callable[[bytes], None]] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def characteristics(self) -> frozenset[str]:
        pushed = {long_uuid(name) for name, _ in self.packets}
        kept = {long_uuid(name) for _, packets in self.records for name, _ in packets}
        control = (
            {RACP, long_uuid("2A18"), long_uuid("2A34")} if self.records or RACP in self.values else set()
        )
        return frozenset(pushed | kept | control | set(self.values))

    async def read(self, characteristic: str) -> bytes:
        if characteristic not in self.values:
            raise AttError(f"a read of {characteristic}", 0x0A)
        return self.values[characteristic]

    async def write(self, characteristic: str, data: bytes) -> None:
        if characteristic in self.refused_writes:
            raise AttError(f"a write of {characteristic}", 0x80)
        self.written.append((characteristic, data))
        if characteristic == RACP:
            asyncio.get_running_loop().call_soon(self._control, data)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        self.handlers[characteristic] = handler
        if self.packets and {long_uuid(n) for n, _ in self.packets} <= set(self.handlers):
            asyncio.get_running_loop().call_soon(self._push)

    async def wait_closed(self) -> None:
        await asyncio.shield(self.closed)

    def _push(self) -> None:
        if self._send(self.packets) and not self.closed.done():
            self.closed.set_result(None)

    def _send(self, packets: Sequence[Packet]) -> bool:
        for name, data in packets:
            if self.sent == self.break_after:
                if not self.closed.done():
                    self.closed.set_exception(LinkLost("the device went away"))
                return False
            self.sent += 1
            try:
                self.handlers[long_uuid(name)](data)
            except Exception as error:  # noqa: BLE001 - as a radio does: the link reports it
                if not self.closed.done():
                    self.closed.set_exception(error)
                return False
        return True

    def _control(self, request: bytes) -> None:
        chosen = self._chosen(request)
        if request[0] == OpCode.COUNT:
            self._send([("2A52", bytes([OpCode.COUNT_RESPONSE, 0]) + len(chosen).to_bytes(2, "little"))])
        elif request[0] == OpCode.REPORT:
            packets = [packet for _, packets in chosen for packet in packets]
            result = Result.SUCCESS if packets else Result.NO_RECORDS_FOUND
            self._send([*packets, ("2A52", bytes([OpCode.RESPONSE, 0, OpCode.REPORT, result]))])

    def _chosen(self, request: bytes) -> list[tuple[int, Sequence[Packet]]]:
        if request[1] == Operator.ALL:
            return list(self.records)
        least = int.from_bytes(request[3:5], "little")
        return [record for record in self.records if record[0] >= least]


@dataclass
class Kept:
    """A sink that remembers, and can be told to fail."""

    readings: list[Reading] = field(default_factory=list)
    cursors: list[RecordCursor | None] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    fail: Exception | None = None

    def commit(self, readings: Sequence[Reading], *, cursor: RecordCursor | None = None) -> None:
        if self.fail:
            raise self.fail
        self.readings += readings
        self.cursors.append(cursor)
        self.batches.append(len(readings))


def visit_of(
    profile: DeviceProfile,
    sink: Kept,
    now: Callable[[], GatewayTime],
    *,
    cursor: RecordCursor | None = None,
    zone_offset_minutes: int = 480,
    consents: Mapping[int, int] | None = None,
    bind_key: bytes | None = None,
    address: str | None = None,
) -> Visit:
    """A visit to an example device."""
    device = DeviceIdentity(
        device_id=device_id("Example", "X-1", "SN1", None),
        maker="Example",
        model="X-1",
        serial="SN1",
        address=address,
    )
    return Visit(
        device=device,
        profile=profile,
        firmware="1.0",
        gateway="gw-1",
        software="0.1.0",
        boot_id=UUID(int=7),
        number=1,
        zone_offset_minutes=zone_offset_minutes,
        cursor=cursor,
        now=now,
        sink=sink,
        consents=consents or {},
        bind_key=bind_key,
    )
