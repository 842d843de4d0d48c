"""A device that keeps its records behind a Record Access Control Point. Being asked to delete is refused."""

from collections.abc import Sequence
from typing import ClassVar

from bumble.att import ATT_Error
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue

from device_drivers.quantities.record_access import OpCode, Operator, Result
from virtual_home.devices.peripheral import ENCRYPTED_WRITE, WRITEABLE, Entry, Fate, Peripheral, Properties

_CCCD_WRONG = 0x81


class RecordKeeper(Peripheral):
    """Numbers its records, and counts how often it was asked to delete them.

    `number_bytes` is the length of a record's number; with `combined` its records are asked for by a combined
    report, whose answer is how many came, in the same length.
    """

    number_bytes: ClassVar[int] = 2
    combined: ClassVar[bool] = False

    def control_point(self) -> Characteristic[bytes]:
        """Return the control point, for the service that `build` makes."""
        self.deletions_asked = 0
        self.control = self.secured(0x2A52, Properties.WRITE | Properties.INDICATE)
        self.control.permissions = WRITEABLE | ENCRYPTED_WRITE
        self.control.value = CharacteristicValue(write=self._asked)
        return self.control

    def number_of(self, entry: Entry) -> int:
        """Return what a record is asked by."""
        return entry.number

    async def send(self, connection: Connection, entry: Entry) -> None:
        """Notify one record."""
        raise NotImplementedError

    def _asked(self, connection: Connection, value: bytes) -> None:
        subscribed = self.device.gatt_server.subscribers.get(connection, {})
        if not subscribed.get(self.control.handle, b"\0\0")[0] & 2:
            raise ATT_Error(_CCCD_WRONG)
        self.spawn(self._answer(connection, bytes(value)))

    async def _answer(self, connection: Connection, request: bytes) -> None:
        op_code, chosen = request[0], self._chosen(request)
        report = OpCode.COMBINED_REPORT if self.combined else OpCode.REPORT
        if op_code == OpCode.COUNT and chosen is not None:
            answer = self._number_of_records(OpCode.COUNT_RESPONSE, chosen)
        elif op_code == report and chosen is not None:
            await self._report(connection, chosen)
            if self.connection is None:
                return
            answer = self._reported(op_code, chosen)
        elif op_code == OpCode.ABORT:
            answer = _response(op_code, Result.SUCCESS)
        else:
            self.deletions_asked += op_code == OpCode.DELETE
            answer = _response(op_code, Result.OP_CODE_NOT_SUPPORTED)
        await self.device.indicate_subscriber(connection, self.control, answer)
        if op_code == report:
            for entry in chosen or ():
                entry.fate = Fate.CONFIRMED
                self.tell("confirmed", entry)
            await self.close_soon(connection)

    def _reported(self, op_code: int, chosen: Sequence[Entry]) -> bytes:
        if self.combined and chosen:
            return self._number_of_records(OpCode.COMBINED_RESPONSE, chosen)
        return _response(op_code, Result.SUCCESS if chosen else Result.NO_RECORDS_FOUND)

    def _number_of_records(self, op_code: int, chosen: Sequence[Entry]) -> bytes:
        return bytes([op_code, 0]) + len(chosen).to_bytes(self.number_bytes, "little")

    def _chosen(self, request: bytes) -> list[Entry] | None:
        if request[1] == Operator.ALL:
            return self.held()
        if request[1] == Operator.GREATER_OR_EQUAL and len(request) == 3 + self.number_bytes:
            least = int.from_bytes(request[3:], "little")
            return [entry for entry in self.held() if self.number_of(entry) >= least]
        return None

    async def _report(self, connection: Connection, chosen: Sequence[Entry]) -> None:
        for entry in chosen:
            if await self.breaks(connection):
                return
            entry.sent_times += 1
            entry.fate = Fate.SENT if entry.fate is Fate.MEASURED else entry.fate
            self.tell("sent", entry)
            await self.send(connection, entry)


def _response(op_code: int, result: int) -> bytes:
    return bytes([OpCode.RESPONSE, 0, op_code, result])
