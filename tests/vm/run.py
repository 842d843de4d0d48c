"""Boot once and run the scenarios: `python -m tests.vm.run [--slice] [--list] [NAME ...]`."""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.vm.confirmation import order
from tests.vm.machine import PARTS, missing
from tests.vm.rig import Failed, Rig
from tests.vm.scenarios import SCENARIOS, Scenario
from wire_format.errors import KitelineError

REPORT = PARTS / "report.json"
KEPT_LOGS = PARTS / "last"
SCENARIO_S = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scenario. `seconds`: advertisement to outbox; `took`: the whole of it."""

    name: str
    says: str
    failure: str | None
    seconds: float | None
    took: float


@dataclass(frozen=True, slots=True)
class Report:
    """One boot."""

    outcomes: tuple[Outcome, ...]
    notes: dict[str, str]
    up_s: float
    total_s: float

    @property
    def failed(self) -> list[Outcome]:
        """The scenarios that failed."""
        return [outcome for outcome in self.outcomes if outcome.failure is not None]


async def run(chosen: Sequence[Scenario], *, loud: bool = False) -> Report:
    """Boot, run each scenario once, end. Nothing is tried twice."""
    began = time.monotonic()
    # A short path: sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="kvm-"))
    try:
        async with Rig(folder, gateway=chosen[0].gateway) as rig:
            if loud:
                print(f"  up after {rig.up_s:.1f} s", flush=True)
            outcomes = []
            for scenario in chosen:
                outcomes.append(await _one(rig, scenario))
                if loud:
                    print(_line(outcomes[-1]), flush=True)
            notes = rig.notes | {
                "order": order(rig),
                "clocks": f"compared to within {rig.offset_error_ns / 1e6:.2f} ms",
            }
    finally:
        _keep(folder)
    return Report(tuple(outcomes), notes, rig.up_s, time.monotonic() - began)


async def _one(rig: Rig, scenario: Scenario) -> Outcome:
    began, failure, since = time.monotonic(), None, rig.now
    try:
        async with asyncio.timeout(SCENARIO_S):
            if scenario.gateway:
                await rig.start_gateway()
            await scenario.run(rig)
    except (Failed, KitelineError, ValueError, KeyError, IndexError, OSError, TimeoutError) as error:
        failure = f"{type(error).__name__}: {error}"
    await rig.silence()
    took = time.monotonic() - began
    return Outcome(scenario.name, scenario.says, failure, rig.seconds(scenario.device, since), took)


def _line(outcome: Outcome) -> str:
    seconds = "      -" if outcome.seconds is None else f"{outcome.seconds:6.2f}s"
    state = "FAILED" if outcome.failure else "ok    "
    return f"  {state} {seconds} {outcome.took:6.1f}s  {outcome.name}" + (
        f"\n         {outcome.failure}" if outcome.failure else ""
    )


def _keep(folder: Path) -> None:
    """Keep the logs of the last run beside the machine's parts; keys and sockets go."""
    shutil.rmtree(KEPT_LOGS, ignore_errors=True)
    KEPT_LOGS.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, KEPT_LOGS)
    shutil.rmtree(folder)


async def _until_told(work: Coroutine[Any, Any, Report]) -> Report:
    """Run; end the machine also when this program is told to end."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> int:
    """Run what was chosen; print each scenario as it ends; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="tests.vm.run", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these scenarios")
    parser.add_argument("--slice", action="store_true", help="only those that `make test` runs")
    parser.add_argument("--list", action="store_true", help="print what there is")
    asked = parser.parse_args()
    unknown = set(asked.names) - {s.name for s in SCENARIOS}
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; see --list")
    chosen = [
        s for s in SCENARIOS if (not asked.names or s.name in asked.names) and (s.in_slice or not asked.slice)
    ]
    if asked.list:
        print("\n".join(f"{s.name:30} {s.says}" for s in chosen))
        return 0
    if lacking := missing():
        print(f"No virtual machine here: {', '.join(lacking)} missing. Run `make test-vm`.", file=sys.stderr)
        return 2
    print(f"{len(chosen)} scenarios in one boot (advertisement to outbox, whole scenario):", flush=True)
    report = asyncio.run(_until_told(run(chosen, loud=True)))
    REPORT.write_text(json.dumps(asdict(report), indent=1))
    for name, note in report.notes.items():
        print(f"  {name}: {note}")
    passed = len(report.outcomes) - len(report.failed)
    print(f"{passed} of {len(report.outcomes)} passed, {report.total_s:.0f} s")
    print(f"Logs of guest, devices and machine: {KEPT_LOGS.relative_to(PARTS.parents[1])}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
