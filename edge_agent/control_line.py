"""The terminal's end of the control socket (see `control`): asks a running agent, answers its questions."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from edge_agent.pairing import ConsentNeeded
from wire_format.errors import KitelineError, Misconfigured, Rejected, Unreachable

CONTROL: Final = "control"
MAX_LINE: Final = 1 << 16

Message = dict[str, Any]

_REFUSALS: Final[dict[str, type[KitelineError]]] = {
    "Misconfigured": Misconfigured,
    "SwitchedOff": Misconfigured,
    "ConsentNeeded": ConsentNeeded,
    "Rejected": Rejected,
}


def read_object(line: bytes) -> Message:
    """Return the JSON object of a line; raises `Misconfigured`."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Misconfigured("The other end of the control socket hung up, or did not send a JSON object.")
    return found


class ControlLine:
    """The other end: what a command of the terminal asks of the running agent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, state: Path) -> "ControlLine":
        """Connect to the agent of a state folder; raises `Unreachable` saying how to start it."""
        try:
            return cls(*await asyncio.open_unix_connection(state / CONTROL, limit=MAX_LINE))
        except OSError as error:
            raise Unreachable(
                f"No agent answers at {state / CONTROL} ({type(error).__name__}): start it "
                "(`systemctl start kiteline-edge-agent`), and run this as root."
            ) from error

    async def ask(self, do: str, **fields: object) -> AsyncIterator[Message]:
        """Ask, and yield what the agent says: questions, then the answer. Raises what it refused with."""
        await self.send({"do": do, **fields})
        while line := await self._reader.readline():
            message = read_object(line)
            if "error" in message:
                raise _REFUSALS.get(message.get("kind", ""), Unreachable)(message["error"])
            yield message
            if "ask" not in message:
                return
        raise Unreachable("The agent hung up: see its log, `journalctl -u kiteline-edge-agent`.")

    async def send(self, message: Message) -> None:
        """Send a line."""
        self._writer.write(json.dumps(message, default=str).encode() + b"\n")
        await self._writer.drain()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
