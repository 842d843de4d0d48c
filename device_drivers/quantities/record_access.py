"""Record Access Control Point (0x2A52), Glucose Service 1.0.1 section 3.5. Deleting is not offered here.

Combined reports are the Generic Health Sensor Service's: their answer is how many records came.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from device_drivers.reader import Reader
from wire_format.errors import MalformedPacket


class OpCode(IntEnum):
    """What is asked or answered. The delete code is known so that it can be recognised, never to be sent."""

    REPORT = 1
    DELETE = 2
    ABORT = 3
    COUNT = 4
    COUNT_RESPONSE = 5
    RESPONSE = 6
    COMBINED_REPORT = 7
    COMBINED_RESPONSE = 8


class Operator(IntEnum):
    """Which records; "greater or equal" includes its operand."""

    NULL = 0
    ALL = 1
    LESS_OR_EQUAL = 2
    GREATER_OR_EQUAL = 3
    WITHIN_RANGE = 4
    FIRST = 5
    LAST = 6


class Result(IntEnum):
    """Response codes."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS_FOUND = 6
    ABORT_UNSUCCESSFUL = 7
    NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9
    BUSY = 10


FILTER_SEQUENCE: Final = 1
COUNT_ALL: Final = bytes([OpCode.COUNT, Operator.ALL])
ABORT: Final = bytes([OpCode.ABORT, Operator.NULL])
# One byte is not the specification's, but is seen; four are the Generic Health Sensor Service's.
_COUNT_BYTES: Final = (1, 2, 4)
_COUNTS: Final = (OpCode.COUNT_RESPONSE, OpCode.COMBINED_RESPONSE)


def report_all(op_code: OpCode = OpCode.REPORT) -> bytes:
    """Ask for every record."""
    return bytes([op_code, Operator.ALL])


def report_from(sequence: int, op_code: OpCode = OpCode.REPORT, length: int = 2) -> bytes:
    """Ask for every record with this number, of `length` bytes, or a higher one."""
    return bytes([op_code, Operator.GREATER_OR_EQUAL, FILTER_SEQUENCE]) + sequence.to_bytes(length, "little")


@dataclass(frozen=True, slots=True)
class RecordAccess:
    """One value of 0x2A52, request or response."""

    op_code: int
    operator: int
    operand: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if the operand cannot be that of its op code."""
        r = Reader(data, "Record Access Control Point")
        value = cls(r.uint(1, "op code"), r.uint(1, "operator"), r.rest())
        if value.op_code in _COUNTS and len(value.operand) not in _COUNT_BYTES:
            raise MalformedPacket(f"A number of records has 2 or 4 bytes, not {len(value.operand)}.")
        if value.op_code == OpCode.RESPONSE and len(value.operand) != 2:  # noqa: PLR2004 - request, result
            raise MalformedPacket(f"A response has 2 bytes, not {len(value.operand)}.")
        return value

    def __bytes__(self) -> bytes:
        return bytes([self.op_code, self.operator]) + self.operand

    @property
    def count(self) -> int | None:
        """The number of records, if this is the answer to COUNT or to a combined report."""
        return int.from_bytes(self.operand, "little") if self.op_code in _COUNTS else None

    @property
    def request(self) -> int | None:
        """The op code that this responds to."""
        return self.operand[0] if self.op_code == OpCode.RESPONSE else None

    @property
    def result(self) -> int | None:
        """The response code (see `Result`; others are reserved)."""
        return self.operand[1] if self.op_code == OpCode.RESPONSE else None
