"""Everybody alarms at once: the first hundred at the hospital's server, all of them, and the page."""

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.intake_loop import IntakeLoop
from cloud_bridge.store.base import EnrolledGateway
from service_kit.log import silent
from tests.bench.figures import section, show
from tests.doubles.bridge_desk import BridgeDesk, care, told
from tests.doubles.bridge_home import SITE, SealingHome
from tests.doubles.bridge_readings import CUFF, NOW, blood_pressure
from tests.doubles.edge_readings import gateway_keys
from tests.doubles.page_visitor import Visitor
from virtual_home.hospital import Desk
from virtual_home.servers import fhir_server
from wire_format.identity import device_id

PATIENTS: Final = 300
FIRST: Final = 100
LONGEST_S: Final = 90.0


def enrolled(desk: BridgeDesk) -> list[SealingHome]:
    """Homes of one person each, all of one ward."""
    homes = []
    for number in range(PATIENTS):
        gateway = f"home-{number}"
        known = EnrolledGateway(gateway, SITE, gateway_keys().public, f"{number:016x}")
        desk.store.registry.enrol_gateway(known, NOW)
        desk.store.registry.enrol_person(gateway, "p", f"person-{number}", care(f"{number}"))
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


async def test_everybody_alarms_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is asserted of time; every item must be there once."""
    folder = tmp_path_factory.mktemp("alarms")
    visitor = Visitor(folder, filled=False)
    desk = visitor.desk
    arrived = alarming(enrolled(desk))
    server, base = fhir_server(folder)
    await server.start()
    try:
        async with Desk(base) as hospital, FhirR4Connector(base, test_data=True) as connector:
            for number in range(PATIENTS):
                await hospital.know("Patient", "https://hospital.example/id/patient", f"{number}")
            for kind in ("Practitioner", "Organization"):
                await hospital.know(kind, "https://hospital.example/id/staff", "1")
            desk.store.intake.accept_all(arrived, desk.now)
            began, start = time.perf_counter(), desk.now

            def clock() -> dt.datetime:
                desk.now = start + dt.timedelta(seconds=time.perf_counter() - began)
                return desk.now

            delivery = DeliveryLoop(desk.store.deliveries, {"fhir": connector}, clock, log=silent())
            intake = IntakeLoop(desk.store.intake, desk.ingest, clock, delivery.wake, silent())
            running = [asyncio.create_task(intake.run()), asyncio.create_task(delivery.run())]
            first = await _until(began, lambda: _tasks(hospital), FIRST)
            raised = await _until(began, lambda: _open(desk), PATIENTS)
            every = await _until(began, lambda: _tasks(hospital), PATIENTS)
            for one in running:
                one.cancel()
            await asyncio.wait(running)
            owners = Counter(t["for"]["reference"] for t in await hospital.find("Task"))
        await visitor.enter()
        opening = [await _opening(visitor) for _ in range(3)]
    finally:
        await server.stop()
        await visitor.http.aclose()
        desk.close()
    assert set(owners.values()) == {1}
    assert len(owners) == PATIENTS
    section(f"{PATIENTS} people alarm at once (ratio: to the aim)")
    show(f"the first {FIRST} work orders at the hospital", [first], unit="s", against=30)
    show("all raised", [raised], unit="s")
    show("all work orders at the hospital, each once", [every], unit="s")
    show("the inbox, to its last byte", [seconds for seconds, _ in opening], unit="s")
    show("its size", [size for _, size in opening], unit="kB")


async def _tasks(hospital: Desk) -> int:
    return await hospital.count("Task")


async def _open(desk: BridgeDesk) -> int:
    return len(await asyncio.to_thread(desk.table, "alert"))


async def _opening(visitor: Visitor) -> tuple[float, float]:
    began = time.perf_counter()
    answer = await visitor.http.get("/")
    assert answer.status_code == 200
    return time.perf_counter() - began, len(answer.content) / 1000


async def _until(began: float, count: Callable[[], Awaitable[int]], least: int) -> float:
    while await count() < least:
        assert time.perf_counter() - began < LONGEST_S, f"fewer than {least} after {LONGEST_S:g} s"
        await asyncio.sleep(0.5)
    return time.perf_counter() - began
