"""The demonstration: one home, one hospital, and a reading that goes all the way and comes back."""

import asyncio
import json
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from virtual_home.hospital import Desk
from virtual_home.lab import Lab, StepLine
from virtual_home.scenario import Act, Scenario
from virtual_home.story import latencies, saying
from wire_format.errors import Unreachable

FOLLOW_S: Final = 0.05
SETTLED_S: Final = 60.0
WORDS: Final = {
    "systolic": "systolic {} mmHg",
    "diastolic": "diastolic {} mmHg",
    "pulse": "pulse {} /min",
    "mg_dl": "glucose {} mg/dL",
    "weight": "weight {} kg",
    "temperature": "temperature {} °C",
    "saturation": "oxygen saturation {} %",
}
STYLES: Final = {"patient": "bold", "home": "cyan", "broker": "dim", "hospital": "green", "nurse": "magenta"}


@dataclass
class Demo:
    """One run. `once` acknowledges by itself and ends; otherwise the reader does, and ends it."""

    scenario: Scenario
    lab: Lab
    console: Console
    once: bool
    began: float = field(default_factory=time.monotonic)
    told: int = 0
    measured: int = 0

    async def run(self) -> dict[str, Any]:
        """Show everything; return the figures."""
        self.console.print(Panel(f"[bold]Kiteline[/bold]: {self.scenario.title}", expand=False))
        self.tell("hospital", "starts broker, FHIR server and bridge; the home starts devices and gateway …")
        async with self.lab, Desk(self.lab.fhir_url) as desk:
            following = asyncio.create_task(self._follow())
            try:
                self._show_page()
                for act in self.scenario.acts:
                    await self._act(act)
                await self._close_the_loop(desk)
                figures = await self._figures(desk)
                if not self.once:
                    self._summary(figures)
                    with suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
            finally:
                following.cancel()
                await asyncio.wait([following])
        return figures

    def tell(self, who: str, what: str) -> None:
        """Print one line."""
        passed = time.monotonic() - self.began
        self.console.print(
            f"[dim]{passed:6.2f} s[/dim]  [{STYLES[who]}]{who:<9}[/]{what}", highlight=False, soft_wrap=True
        )

    def _show_page(self) -> None:
        link = self.lab.page_link()
        self.tell("nurse", f"opens the inbox (this link works once): [underline]{link}[/underline]")

    async def _act(self, act: Act) -> None:
        await asyncio.sleep(act.after_s)
        answer = await self.lab.home.ask(
            "measure", device=act.device, values={k: str(v) for k, v in act.values.items()}
        )
        values = ", ".join(WORDS[name].format(value) for name, value in answer["values"].items())
        self.tell("patient", f"{act.say or 'measures'}: [bold]{values}[/bold]")
        await self._all_receipted()

    async def _all_receipted(self) -> None:
        """Wait until the home holds receipts for all that its devices have measured."""

        def receipted() -> bool:
            steps = self.lab.steps()
            settled = {s.facts["sequence"] for s in steps if s.step == "receipt_settled"}
            stored = sum(len(s.facts["measurements"]) for s in steps if s.step == "stored")
            kept = {s.facts["sequence"] for s in steps if s.step == "outbox_committed"}
            return stored >= self.measured and kept <= settled

        self.measured += 1
        await self.lab.until(receipted, "receipts for everything that was measured", SETTLED_S)

    async def _close_the_loop(self, desk: Desk) -> None:
        """Wait for the work order; let it be acknowledged; wait until the home heard."""
        task = await self._work_order(desk)
        self.tell("hospital", f"work order for the nurse: [bold]{task['description']}[/bold]")
        if self.once:
            await desk.take_on(task)
            self.tell("nurse", "takes the work order on, in the hospital's own system")
        else:
            self.tell("nurse", "is waited for: acknowledge on the page, or the Task at the FHIR server")
        patience = SETTLED_S if self.once else 86_400
        await self.lab.until(lambda: self._heard() > 0, "the home hears that it was seen", patience)

    async def _work_order(self, desk: Desk) -> dict[str, Any]:
        ends = time.monotonic() + SETTLED_S
        while time.monotonic() < ends:
            for task in await desk.find("Task"):
                if await self._confirmed(desk, task):
                    return task
            await asyncio.sleep(FOLLOW_S)
        raise Unreachable(f"No work order came within {SETTLED_S:g} s.\n{self.lab.bridge.tail()}")

    async def _confirmed(self, desk: Desk, task: dict[str, Any]) -> bool:
        """Tell whether a work order says that it is confirmed, and its issue is severe with two readings.

        Both are asked: a Task that was read before it changed stands beside an issue that was read after.
        """
        if task.get("businessStatus", {}).get("text") != "confirmed":
            return False
        issues = {f"DetectedIssue/{i['id']}": i for i in await desk.find("DetectedIssue")}
        issue = issues.get(task["focus"]["reference"], {})
        return issue.get("severity") == "high" and len(issue.get("implicated", [])) > 1

    def _heard(self) -> int:
        return sum(s.step == "downlink_stored" for s in self.lab.steps())

    async def _follow(self) -> None:
        """Tell each step as it happens."""
        while True:
            steps = self.lab.steps()
            for step in steps[self.told :]:
                self._tell_step(step)
            self.told = len(steps)
            await asyncio.sleep(FOLLOW_S)

    def _tell_step(self, step: StepLine) -> None:
        said = saying(step)
        if said is not None:
            self.tell(*said)

    async def _figures(self, desk: Desk) -> dict[str, Any]:
        steps = self.lab.steps()
        ledger = await self.lab.home.ask("ledger")
        alerts = {s.facts["subject"] for s in steps if s.step == "delivered" and s.facts["kind"] == "alert"}
        stored = {m for s in steps if s.step == "stored" for m in s.facts["measurements"]}
        counts = {
            "measured": len(ledger),
            "sealed": sum(s.step == "outbox_committed" for s in steps),
            "stored": len(stored),
            "raised": len(alerts),
            "observations": len(await desk.find("Observation")),
            "tasks": len(await desk.find("Task")),
            "acknowledged": sum(s.step == "acknowledgement_stored" for s in steps),
            "heard_at_home": self._heard(),
        }
        return {
            **counts,
            "latency_ms": asdict(latencies(steps)),
            "seconds": round(time.monotonic() - self.began, 1),
        }

    def _summary(self, figures: dict[str, Any]) -> None:
        table = Table(title="What came of it", show_header=False)
        for name, value in figures.items():
            table.add_row(name.replace("_", " "), json.dumps(value))
        self.console.print(table)
        self.console.print("The page stays open. End with Ctrl-C.")


async def run_demo(scenario: Scenario, *, once: bool, language: str, folder: Path | None) -> dict[str, Any]:
    """Run the demonstration in a folder of its own, which goes when all went well."""
    place = folder or Path(tempfile.mkdtemp(prefix="kiteline-"))
    place.mkdir(parents=True, exist_ok=True)
    console = Console()
    done = False
    try:
        figures = await Demo(scenario, Lab(place, scenario, language), console, once).run()
        done = True
    finally:
        if not done:
            console.print(f"Logs and files are kept in {place}.")
        elif folder is None:
            shutil.rmtree(place)
    return figures
