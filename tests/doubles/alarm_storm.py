"""Many people alarm at once: their homes, what these send, the hospital that hears of it, and a nurse."""

import asyncio
import datetime as dt
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import func, select

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.intake_loop import IntakeLoop
from cloud_bridge.steps import Step
from cloud_bridge.store import access_schema, schema
from cloud_bridge.store.base import EnrolledGateway
from cloud_bridge.store.engine import reading
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, care, told
from tests.doubles.bridge_home import SITE, SealingHome
from tests.doubles.bridge_readings import CUFF, NOW, blood_pressure
from tests.doubles.edge_readings import gateway_keys
from tests.doubles.page_visitor import Visitor
from virtual_home.hospital import Desk
from virtual_home.servers import fhir_server
from wire_format.identity import device_id

FIRST_NUMBER = 1000
"""What the hospital calls the first person; 1 and 2 are people of every desk."""
LOOKS_S = 0.5
NEXT = re.compile(r'rel="next" href="([^"]+)"')
TITLE = re.compile(r"<h3[^>]*>Patient (\d+)")


@dataclass
class Storm:
    """What came of it. Times are seconds since everything had arrived."""

    people: int
    visitor: Visitor
    delivered: list[float] = field(default_factory=list)
    raised_s: float = 0.0
    tasks: list[str] = field(default_factory=list)

    @property
    def desk(self) -> BridgeDesk:
        return self.visitor.desk

    def count(self, *conditions: object) -> int:
        """How many alerts there are."""
        query = select(func.count()).select_from(schema.alert).where(*conditions)  # type: ignore[arg-type]  # SQL's
        with reading(self.desk.store.engine) as connection:
            return int(connection.execute(query).scalar_one())

    async def walk(self) -> list[str]:
        """Turn every page of the inbox; return whom they showed, in order."""
        shown, address = [], "/"
        while True:
            answer = await self.visitor.http.get(address)
            assert answer.status_code == 200
            shown += TITLE.findall(answer.text)
            found = NEXT.search(answer.text)
            if found is None:
                return shown
            address = found[1].replace("&amp;", "&")


def enrolled(desk: BridgeDesk, people: int) -> list[SealingHome]:
    """Homes of one person each, all of one ward."""
    homes = []
    for number in range(people):
        gateway = f"home-{number}"
        known = EnrolledGateway(gateway, SITE, gateway_keys().public, f"{number:016x}")
        desk.store.registry.enrol_gateway(known, NOW)
        desk.store.registry.enrol_person(gateway, "p", f"person-{number}", care(f"{FIRST_NUMBER + number}"))
        homes.append(SealingHome(gateway, outbox=number + 1))
    return homes


def alarming(homes: list[SealingHome]) -> list[tuple[str, bytes]]:
    """One severe reading of each."""
    sent = []
    for number, home in enumerate(homes):
        serial = f"BP-{number}"
        own = {"serial": serial, "device_id": device_id("Example", "BP-1", serial, None), "system_id": None}
        cuff = CUFF.model_copy(update=own)
        one = blood_pressure("192", "124", gateway=home.gateway, device=cuff)
        sent.append((home.topic, home.seal(told(one, "p")).data))
    return sent


def consent_all(visitor: Visitor, people: int) -> None:
    """Let everybody agree that nurses read everything, at once."""
    rows = [
        {
            "id": uuid5(NAMESPACE_URL, f"{number}/{data}"),
            "patient": f"person-{number}",
            "to": Role.NURSE.value,
            "data": data.value,
            "text_version": "1",
            "valid_from": NOW,
            "given_by": f"person-{number}",
            "given_at": NOW,
        }
        for number in range(people)
        for data in DataType
    ]
    with visitor.desk.store.engine.begin() as connection:
        connection.execute(access_schema.consent.insert(), rows)


@asynccontextmanager
async def storm(folder: Path, people: int, longest_s: float) -> AsyncIterator[Storm]:
    """Let everybody's reading lie in the inbox, then take, judge and deliver it all, beside each other."""
    visitor = Visitor(folder, filled=None, accounts=True)
    one = Storm(people, visitor)
    server, base = fhir_server(folder)
    await server.start()
    try:
        arrived = alarming(enrolled(one.desk, people))
        async with Desk(base) as hospital, FhirR4Connector(base, test_data=True) as connector:
            for number in range(people):
                await hospital.know(
                    "Patient", "https://hospital.example/id/patient", f"{FIRST_NUMBER + number}"
                )
            for kind in ("Practitioner", "Organization"):
                await hospital.know(kind, "https://hospital.example/id/staff", "1")
            one.desk.store.intake.accept_all(arrived, one.desk.now)
            await _run(one, connector, longest_s)
            one.tasks = [t["for"]["reference"] for t in await hospital.find("Task")]
        yield one
    finally:
        await server.stop()
        await visitor.close()


async def _run(one: Storm, connector: FhirR4Connector, longest_s: float) -> None:
    desk, began = one.desk, time.perf_counter()
    start = desk.now

    def clock() -> dt.datetime:
        desk.now = start + dt.timedelta(seconds=time.perf_counter() - began)
        return desk.now

    def observer(step: Step, facts: Mapping[str, object]) -> None:
        if step is Step.DELIVERED and facts["kind"] == "alert":
            one.delivered.append(time.perf_counter() - began)

    delivery = DeliveryLoop(desk.store.deliveries, {"fhir": connector}, clock, observer, log=silent())
    intake = IntakeLoop(desk.store.intake, desk.ingest, clock, delivery.wake, silent())
    running = [asyncio.create_task(intake.run()), asyncio.create_task(delivery.run())]
    try:
        await _until(lambda: one.count() >= one.people, longest_s)
        one.raised_s = time.perf_counter() - began
        await _until(lambda: len(one.delivered) >= one.people, longest_s)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def _until(so: Callable[[], bool], longest_s: float) -> None:
    for _ in range(int(longest_s / LOOKS_S)):
        if await asyncio.to_thread(so):
            return
        await asyncio.sleep(LOOKS_S)
    raise TimeoutError(f"not within {longest_s:g} s")
