"""Asking a meter on a cable: one question at a time, each with its own deadline and few attempts.

What a meter says unasked, or so that nobody understands it, is handed to `keep`: it never becomes an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from device_drivers.link import SerialLink
from wire_format.errors import MalformedPacket, Rejected, Unreachable

A = TypeVar("A")

_LONGEST_NOISE: Final = 200
"""How many times a meter that goes on talking is waited for: a minute, as a rule."""

_NOTHING: Final = b"\r\n\0"


class NoAnswer(Unreachable):
    """Nobody answered at the other end of the cable. Nothing was decided; ask again later."""


class Refused(Rejected):
    """The meter understood a request and refuses it."""


class SerialProtocol(BaseModel):
    """What every driver of a cable must know: the speed, and patience with one short answer.

    After `quiet_s` of silence it has nothing more to say to an old question. A meter that `speaks_first` can
    only be listened for: its cable is never left alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    baud_rate: Literal[9600, 19200, 38400]
    answer_s: Decimal = Field(default=Decimal(2), gt=0)
    quiet_s: Decimal = Field(default=Decimal("0.3"), gt=0)
    tries: int = Field(default=3, ge=1, le=5)
    speaks_first: bool = False


def forgotten(_data: bytes, _reason: str) -> None:
    """Keep nothing: the meter is not yet known, and no visit has begun."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation with one meter."""

    link: SerialLink
    protocol: SerialProtocol
    keep: Callable[[bytes, str], None] = forgotten

    @property
    def answer_s(self) -> float:
        """How long one short answer may take, all of it."""
        return float(self.protocol.answer_s)

    async def ask(self, what: str, attempt: Callable[[], Awaitable[A]], tries: int | None = None) -> A:
        """Return what `attempt` (asks once, and decodes the answer) returns, trying again after silence.

        Raises `NoAnswer` if nothing came, `MalformedPacket` if what came was never understood.
        """
        trouble: Exception | None = None
        for _ in range(self.protocol.tries if tries is None else tries):
            await self._unasked()
            try:
                return await attempt()
            except TimeoutError:
                noise = await self.settle(f"This is no whole answer to {what}.")
                trouble = _strange(what) if noise else NoAnswer(_silence(what))
            except MalformedPacket as error:
                await self.settle(f"This came after a damaged answer to {what}.")
                trouble = error
        raise trouble or NoAnswer(_silence(what))

    async def settle(self, reason: str) -> bytes:
        """Wait until the meter is silent; keep what it said, and return it."""
        said = b""
        for _ in range(_LONGEST_NOISE):
            heard = await self.link.discard()
            self._keep(heard, reason)
            said += heard
            await asyncio.sleep(float(self.protocol.quiet_s))
            if not heard:
                break
        return said

    async def _unasked(self) -> None:
        self._keep(await self.link.discard(), "The meter said this unasked.")

    def _keep(self, data: bytes, reason: str) -> None:
        if data.strip(_NOTHING):
            self.keep(data, reason)

    def decoded(self, data: bytes, decode: Callable[[bytes], A]) -> A:
        """Decode bytes; keep those that are not understood, and raise `MalformedPacket`."""
        try:
            return decode(data)
        except MalformedPacket as error:
            self._keep(data, str(error))
            raise


def _silence(what: str) -> str:
    return f"The meter did not answer {what}: see that it is on the cable, switched on, and of this profile."


def _strange(what: str) -> MalformedPacket:
    return MalformedPacket(
        f"The answer to {what} is no whole frame: the meter stopped, or is not of this profile and speed."
    )
