"""User Data Service 1.0: control point (0x2A9F), database change increment (0x2A99), user index (0x2A9A).

A device that knows several people gives each one's data only to whom knows that slot's consent code.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from device_drivers.reader import Reader


class UserOpCode(IntEnum):
    """What is asked or answered. Registering and deleting are known to be recognised, never to be sent."""

    REGISTER = 1
    CONSENT = 2
    DELETE_OWN_DATA = 3
    LIST_ALL_USERS = 4
    RESPONSE = 0x20


class UserResult(IntEnum):
    """Response values."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_PARAMETER = 3
    OPERATION_FAILED = 4
    USER_NOT_AUTHORISED = 5


USER_UNKNOWN: Final = 0xFF
_LEAST: Final[dict[int, int]] = {UserOpCode.REGISTER: 2, UserOpCode.CONSENT: 3, UserOpCode.RESPONSE: 2}
_CODE_AT: Final[dict[int, int]] = {UserOpCode.REGISTER: 0, UserOpCode.CONSENT: 1}


@dataclass(frozen=True, slots=True)
class UserControl:
    """One value of 0x2A9F, request or response; `parameter` as sent."""

    op_code: int
    parameter: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if its parameter is shorter than its op code needs."""
        r = Reader(data, "User Control Point")
        value = cls(r.uint(1, "op code"), r.rest())
        Reader(value.parameter, "User Control Point").take(_LEAST.get(value.op_code, 0), "its parameter")
        return value

    @classmethod
    def consent(cls, slot: int, code: int) -> Self:
        """Ask for the data of one slot."""
        return cls(UserOpCode.CONSENT, bytes([slot]) + code.to_bytes(2, "little"))

    def __bytes__(self) -> bytes:
        return bytes([self.op_code]) + self.parameter

    @property
    def user(self) -> int | None:
        """The slot that is asked for, or that a registration was given."""
        if self.op_code == UserOpCode.CONSENT:
            return self.parameter[0]
        registered = self.request == UserOpCode.REGISTER and len(self.parameter) > 2  # noqa: PLR2004 - request, result, user
        return self.parameter[2] if registered else None

    @property
    def code(self) -> int | None:
        """The consent code of a request."""
        start = _CODE_AT.get(self.op_code)
        return None if start is None else int.from_bytes(self.parameter[start : start + 2], "little")

    @property
    def request(self) -> int | None:
        """The op code that this responds to."""
        return self.parameter[0] if self.op_code == UserOpCode.RESPONSE else None

    @property
    def result(self) -> int | None:
        """The response value (see `UserResult`; others are reserved)."""
        return self.parameter[1] if self.op_code == UserOpCode.RESPONSE else None


@dataclass(frozen=True, slots=True)
class ChangeIncrement:
    """Database Change Increment (0x2A99), 32 bit: raised by whoever changed a user's data."""

    count: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if it is too short."""
        return cls(Reader(data, "Database Change Increment").uint(4, "increment"))

    def __bytes__(self) -> bytes:
        return self.count.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class UserIndex:
    """User Index (0x2A9A): the slot that data are given for now; 255 is nobody's."""

    index: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a value; raises `MalformedPacket` if it is empty."""
        return cls(Reader(data, "User Index").uint(1, "index"))

    def __bytes__(self) -> bytes:
        return bytes([self.index])

    @property
    def unknown(self) -> bool:
        """Whether it is nobody's."""
        return self.index == USER_UNKNOWN
