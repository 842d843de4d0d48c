"""Programs started, watched and ended by whoever started them: always by pid, never by name."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from wire_format.errors import Misconfigured, Unreachable

STOP_GRACE_S: Final = 10.0
POLL_S: Final = 0.05
LOG_TAIL: Final = 2000


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def accepts(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


class Program:
    """One program in a process of its own. Its output goes to `log`; starting again appends to it."""

    def __init__(  # noqa: PLR0913 - a process has these parts
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], Awaitable[bool]],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self.starts = 0
        self._log_began_at = 0
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The pid of the running process; raises `Misconfigured` before the first start."""
        if self._process is None:
            raise Misconfigured(f"{self.name} was not started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """Exit status of the last run (negative: the signal), None while it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self, timeout_s: float = 60) -> None:
        """Start and wait until it is ready; raise `Unreachable` with the end of its log if it is not."""
        with self.log.open("ab") as out:
            self._log_began_at = out.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.env},
                cwd=self.cwd,
            )
        self.starts += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._ready():
                    if not self.running:
                        raise Unreachable(f"{self.name} ended at once.\n{self.tail()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            await self.kill()
            raise Unreachable(f"{self.name} was not ready within {timeout_s:g} s.\n{self.tail()}") from None

    async def wait(self) -> int:
        """Wait until the process has ended; return its exit status."""
        if self._process is None:
            raise Misconfigured(f"{self.name} was not started.")
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, wait, and end it hard if it does not listen."""
        if not self.running or self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self.running and self._process is not None:
            self._process.kill()
            await self._process.wait()

    def printed(self) -> str:
        """Return what it printed since it was last started."""
        with self.log.open("rb") as file:
            file.seek(self._log_began_at)
            return file.read().decode(errors="replace")

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""
