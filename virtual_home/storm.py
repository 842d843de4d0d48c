"""The storm: every process of the path is killed at every named step, and the record must equal the truth.

Kills are SIGKILL, from within the step itself, one for each case of a plan. The devices run on, as people do.
A device that discards what was confirmed may lose a reading when the agent dies between the radio's
confirmation and the commit: those are counted, and nothing else may be lost.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cloud_bridge.connectors.fhir_codes import TASK, URI
from cloud_bridge.steps import Step as BridgeStep
from edge_agent.steps import Step as AgentStep
from virtual_home.hospital import Desk
from virtual_home.lab import Lab
from virtual_home.processes import Program
from virtual_home.scenario import Scenario, numbered_device
from virtual_home.truth import Difference, compare, count, deliver_all_again, idle, stored_readings
from wire_format.errors import Unreachable

PATIENTS_ACKNOWLEDGED: Final = 10
USED_AGAIN_S: Final = 5.0
ENVELOPES: Final = "SELECT count(*) FROM envelope"
CALM_S: Final = 200.0
"""Longer than a claim that a killed worker holds."""
WINDOW: Final = (
    AgentStep.HANDLER_CALLED,
    AgentStep.COMMIT_CALLED,
    AgentStep.SEALED,
    AgentStep.OUTBOX_WRITTEN,
)
"""Where a device that discards loses a reading if the agent dies."""

_BACK: Final = frozenset(
    {
        ("agent", AgentStep.DOWNLINK_RECEIVED),
        ("agent", AgentStep.DOWNLINK_STORED),
        ("bridge", BridgeStep.ACKNOWLEDGEMENT_STORED),
        ("bridge", BridgeStep.DOWNLINK_PUBLISHED),
        ("bridge", BridgeStep.DOWNLINK_DONE),
    }
)
_ON_THE_LINE: Final = (
    AgentStep.PUBLISHING,
    AgentStep.PUBLISHED,
    AgentStep.PUBACK,
    AgentStep.RECEIPT_RECEIVED,
    AgentStep.RECEIPT_VERIFIED,
    AgentStep.RECEIPT_SETTLED,
    AgentStep.DOWNLINK_RECEIVED,
    AgentStep.DOWNLINK_STORED,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One kill: `victim` dies when `process` is at `step`; `device` measures to bring it about."""

    process: str
    step: str
    victim: str
    device: str


def plan() -> list[Case]:
    """Return every case: each process at each of its steps, the broker at each that it is part of."""
    keepers = _rotation(("cuff", "meter", "scale"))
    severe = _rotation(tuple(f"cuff-{n}" for n in range(PATIENTS_ACKNOWLEDGED)))

    def case(process: str, step: str, victim: str) -> Case:
        device = next(severe) if (process, step) in _BACK else next(keepers)
        return Case(process, step, victim, device)

    return [
        *(case("agent", step, "agent") for step in AgentStep),
        *(Case("agent", step, "agent", "discarding") for step in WINDOW),
        *(case("agent", step, "broker") for step in _ON_THE_LINE),
        *(case("bridge", step, "bridge") for step in BridgeStep),
        *(case("bridge", step, "broker") for step in BridgeStep),
    ]


def _rotation(names: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from names


def scenario(seed: int) -> Scenario:
    """Return a home with a device for all that the plan needs, each person with a cuff of their own."""
    first = [("cuff", "cuff", True), ("meter", "glucose_meter", True), ("scale", "scale", True)]
    more = [("discarding", "cuff", False)]
    severe = [(f"cuff-{n}", "cuff", True) for n in range(PATIENTS_ACKNOWLEDGED)]
    return Scenario(
        title="The storm",
        seed=seed,
        devices=tuple(
            numbered_device(number, key, kind, keeps=keeps)
            for number, (key, kind, keeps) in enumerate([*first, *more, *severe], start=1)
        ),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `window` are the counted losses of devices that discard."""

    hits: int
    steps_hit: tuple[str, ...]
    readings: int
    window: int
    difference: Difference
    alerts: int
    tasks: int
    acknowledged: int
    heard: int
    new_after_resend: int
    dead_letters: int

    def report(self) -> dict[str, Any]:
        """Return it for a last line of JSON."""
        return asdict(self)


@dataclass
class Storm:
    """Carries a plan out in a lab that is running."""

    lab: Lab
    desk: Desk
    cases: list[Case]
    severe: set[str] = field(default_factory=set)
    used_again: int = 0

    async def run(self) -> Outcome:
        """Carry the plan out, empty the broker once, wait for calm, and compare."""
        for number, case in enumerate(self.cases):
            await self._strike(number, case)
        await self._empty_the_broker()
        await self._calm()
        before = await self._resources()
        await self._send_everything_again()
        after = await self._resources()
        return await self._outcome(len(after - before) + len(before - after))

    # --- one kill ---

    async def _strike(self, number: int, case: Case) -> None:
        victim = self._program(case.victim)
        pid = 0 if case.victim == case.process else victim.pid
        if (case.process, case.step) in _BACK:
            task = await self._severe(case.device)
            self.lab.arm(case.process, case.step, pid)
            await self.desk.take_on(task)
        else:
            self.lab.arm(case.process, case.step, pid)
            await self.lab.home.ask("measure", device=case.device, values=_values(number, case.device))
        what = f"{case.victim} is killed at {case.process}.{case.step}"
        await self.lab.until(lambda: len(self.lab.hits()) > number, what)
        await victim.wait()
        await victim.start()

    def _program(self, name: str) -> Program:
        return {"agent": self.lab.agent, "bridge": self.lab.bridge, "broker": self.lab.broker}[name]

    async def _severe(self, device: str) -> dict[str, Any]:
        """Let a person have a severe reading; return the nurse's work order about them."""
        values = {"systolic": "192", "diastolic": "124", "pulse": "96"}
        await self.lab.home.ask("measure", device=device, values=values)
        async with asyncio.timeout(60):
            while True:
                for task in await self.desk.find("Task"):
                    if task["id"] not in self.severe:
                        self.severe.add(task["id"])
                        return task
                await asyncio.sleep(0.1)

    # --- the broker loses everything that it kept ---

    async def _empty_the_broker(self) -> None:
        await self._calm()
        await self.lab.bridge.stop()
        await self.lab.home.ask("measure", device="cuff", values=_values(len(self.cases), "cuff"))
        published = self._count("puback")
        await self.lab.until(lambda: self._count("puback") > published, "the broker takes an envelope")
        await self.lab.broker.kill()
        for kept in (self.lab.folder / "broker").glob("mosquitto.db*"):
            kept.unlink()
        await self.lab.broker.start()
        await self.lab.bridge.start()

    def _count(self, step: str) -> int:
        return sum(line.step == step for line in self.lab.steps())

    # --- calm, and the comparison ---

    async def _calm(self) -> None:
        """Wait until what the devices have has come in, and nothing waits anywhere.

        A device that keeps its readings may hold one that it sent to an agent which then died: it sends it
        again when it is used the next time, as people do every day.
        """
        ends = time.monotonic() + CALM_S
        while missing := await self._missing():
            if time.monotonic() > ends:
                names = sorted(set(missing.values()))
                raise Unreachable(f"Readings are in the devices {names} only.\n{self.lab.agent.tail()}")
            await asyncio.sleep(USED_AGAIN_S)
            for device in sorted(set((await self._missing()).values())):
                self.used_again += 1
                number = len(self.cases) + self.used_again
                await self.lab.home.ask("measure", device=device, values=_values(number, device))
        await self.lab.until(lambda: idle(self.lab.database), "nothing waits anywhere", CALM_S)

    async def _missing(self) -> dict[str, str]:
        """Return what is not stored, packet to device; devices that discard have nothing to send again."""
        stored = {one.packet for one in stored_readings(self.lab.database)}
        ledger = await self.lab.home.ask("ledger")
        return {
            entry["packet"]: entry["device"]
            for entry in ledger
            if entry["device"] != "discarding" and entry["packet"] not in stored
        }

    async def _send_everything_again(self) -> None:
        """Let the home send its whole day once more, and deliver all of it once more."""
        envelopes, published = count(self.lab.database, ENVELOPES), self._count("published")
        await self.lab.bridge.stop()
        await self.lab.ask_again()
        deliver_all_again(self.lab.database)
        await self.lab.bridge.start()

        def sent() -> bool:
            return self._count("published") >= published + envelopes and idle(self.lab.database)

        await self.lab.until(sent, "everything is sent and delivered again", CALM_S)
        if count(self.lab.database, ENVELOPES) != envelopes:
            raise Unreachable("Sending again made new envelopes.")

    async def _resources(self) -> set[str]:
        kinds = ("Observation", "Device", "DetectedIssue", "Task", "CommunicationRequest", "Provenance")
        return {f"{kind}/{one['id']}" for kind in kinds for one in await self.desk.find(kind)}

    async def _outcome(self, new_after_resend: int) -> Outcome:
        ledger = await self.lab.home.ask("ledger")
        difference = compare(ledger, stored_readings(self.lab.database), self.lab.scenario.devices)
        window = [one for one in difference.lost if one[0] == "discarding"]
        lost = tuple(one for one in difference.lost if one not in window)
        hits = self.lab.hits()
        tasks = await self.desk.find("Task")
        return Outcome(
            hits=len(hits),
            steps_hit=tuple(sorted({f"{hit.process}.{hit.step}" for hit in hits})),
            readings=len(ledger),
            window=len(window),
            difference=Difference(lost, difference.doubled, difference.invented, difference.misfiled),
            alerts=count(self.lab.database, "SELECT count(*) FROM alert"),
            tasks=len({_value(task, TASK) for task in tasks}) if _unique(tasks, TASK) else -1,
            acknowledged=count(
                self.lab.database, "SELECT count(*) FROM alert WHERE acknowledged_at IS NOT NULL"
            ),
            heard=await self._heard(),
            new_after_resend=new_after_resend,
            dead_letters=count(self.lab.database, "SELECT count(*) FROM delivery WHERE dead"),
        )

    async def _heard(self) -> int:
        """Return how many acknowledgements the home holds."""
        await self.lab.agent.stop()
        seen = await self.lab.home_status()
        return len({one["alert_id"] for one in seen["care_team_saw"]})


def _values(number: int, device: str) -> dict[str, str]:
    """Return values that no other case has: a doubled or lost reading is then seen by its bytes."""
    match device:
        case "meter":
            return {"mg_dl": str(90 + number)}
        case "scale":
            return {"weight": str(60 + number) + ".00"}
        case _:
            return {"systolic": str(100 + number % 30), "diastolic": "70", "pulse": str(50 + number)}


def _value(resource: dict[str, Any], system: str) -> str | None:
    return next((i["value"] for i in resource.get("identifier", []) if i["system"] == system), None)


def _unique(resources: list[dict[str, Any]], system: str) -> bool:
    values = [_value(resource, system) for resource in resources]
    return len(values) == len(set(values))


async def doubled_observations(desk: Desk) -> list[str]:
    """Return identifiers under which the hospital has more than one Observation."""
    seen: dict[str, int] = {}
    for one in await desk.find("Observation"):
        for identifier in one.get("identifier", []):
            if identifier["system"] == URI:
                seen[identifier["value"]] = seen.get(identifier["value"], 0) + 1
    return [value for value, times in seen.items() if times > 1]


async def run_storm(lab: Lab, cases: list[Case]) -> Outcome:
    """Carry a plan out in a lab; raises `Unreachable` if the path does not recover from a kill."""
    async with lab, Desk(lab.fhir_url) as desk:
        outcome = await Storm(lab, desk, cases).run()
        twice = await doubled_observations(desk)
        if twice:
            raise Unreachable(f"The hospital has {len(twice)} Observations more than once.")
        return outcome
