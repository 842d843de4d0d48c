"""Starts the agent or the bridge with an observer: each step of the path becomes a line, and may be a kill.

`python -m virtual_home.launch agent|bridge --config FILE --steps FILE [--arm FILE]`

The arm file, {"step": "sealed", "pid": 0}, says at which step whom to end with SIGKILL (0: this process);
it is taken away by the one hit that it allows.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wire_format.errors import KitelineError


@dataclass(frozen=True, slots=True)
class Watcher:
    """Writes each step as one JSON line, and ends a process where it was told to."""

    process: str
    steps: int
    arm: Path | None

    def __call__(self, step: str, facts: Mapping[str, object]) -> None:
        """See `StepObserver` of either side."""
        self._write({"step": str(step), "facts": dict(facts)})
        if self.arm is not None and self.arm.exists():
            self._strike(step, self.arm)

    def _strike(self, step: str, arm: Path) -> None:
        try:
            asked = json.loads(arm.read_text())
            if asked["process"] != self.process or asked["step"] != step:
                return
            arm.unlink()
        except FileNotFoundError:
            return
        self._write({"hit": str(step), "pid": asked["pid"]})
        os.kill(asked["pid"] or os.getpid(), signal.SIGKILL)

    def _write(self, line: dict[str, object]) -> None:
        line |= {"process": self.process, "monotonic_ns": time.monotonic_ns()}
        os.write(self.steps, json.dumps(line, default=_text).encode() + b"\n")


def _text(value: object) -> str:
    match value:
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
        case _:
            return str(value)


async def _agent(config: Path, watcher: Watcher) -> None:
    from edge_agent.app import run_agent  # noqa: PLC0415 - only one of the two is started here
    from edge_agent.config import load  # noqa: PLC0415 - as above
    from service_kit.log import configure  # noqa: PLC0415 - as above

    loaded = load(config)
    await run_agent(loaded, configure().bind(site=loaded.site, gateway=loaded.gateway), observer=watcher)


async def _bridge(config: Path, watcher: Watcher) -> None:
    from cloud_bridge.app import run_bridge  # noqa: PLC0415 - only one of the two is started here
    from cloud_bridge.config import load  # noqa: PLC0415 - as above
    from service_kit.log import configure  # noqa: PLC0415 - as above

    loaded = load(config)
    await run_bridge(loaded, configure().bind(site=loaded.site), observer=watcher)


def main() -> int:
    """Run one of the two until it is told to end."""
    parser = argparse.ArgumentParser(prog="virtual_home.launch")
    parser.add_argument("process", choices=["agent", "bridge"])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--steps", type=Path, required=True)
    parser.add_argument("--arm", type=Path)
    asked = parser.parse_args()
    steps = os.open(asked.steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    run = _agent if asked.process == "agent" else _bridge
    try:
        asyncio.run(run(asked.config, Watcher(asked.process, steps, asked.arm)))
    except KitelineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program's output
        return 2
    finally:
        os.close(steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
