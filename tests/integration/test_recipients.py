"""Consents decide whom a home seals to: from the store to the agent's own code, over a real broker."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from typer.testing import CliRunner

from cloud_bridge.access.model import DataType
from cloud_bridge.organization_commands import organizations
from cloud_bridge.sharing import ANEW, LASTS
from cloud_bridge.sharing_loop import SharingLoop
from cloud_bridge.store import schema
from cloud_bridge.store.base import Told
from cloud_bridge.store.sql import SqlStore
from service_kit.key_files import read_public, write_private, write_public
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, assigned
from tests.doubles.bridge_desk import told as told_of
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.edge_hospital import eventually
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from tests.integration.test_bridge_line import bridge
from tests.integration.test_edge_agent import Street, severe, street
from tests.unit.test_bridge_config import GOOD, written
from wire_format.codec import decode_items
from wire_format.downlink import Delivered, Recipients, open_downlink
from wire_format.envelope import open_sealed
from wire_format.errors import Misconfigured, Rejected, Unreachable
from wire_format.keys import BridgeKeys, GatewayPublic, Kem
from wire_format.measurement import Measurement
from wire_format.nomenclature import Quantity
from wire_format.status import Presence, Status

CLINIC = BridgeKeys.generate()
TO = "organization:clinic"
BP, SUGAR = DataType.BLOOD_PRESSURE, DataType.GLUCOSE


def _stored(store: SqlStore) -> list[str]:
    with store.engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT quantity FROM measurement")]


async def _measured(one: Street, store: SqlStore, systolic: int) -> None:
    """Let the cuff measure, and wait until the hospital has it."""
    before = len(_stored(store))
    await severe(one, systolic)
    await eventually(lambda: len(_stored(store)) > before)


def _told(store: SqlStore) -> int:
    with store.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM downlink").scalar_one())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def gives(desk: BridgeDesk, *data: DataType, until: dt.datetime | None = None) -> None:
    for one in data:
        desk.store.access.give_consent(
            "patient-1", TO, one, text_version="1", by="p", now=desk.now, valid_until=until
        )


def told(desk: BridgeDesk) -> list[Delivered]:
    """Every message to the home, opened as it opens them, whatever the time."""
    keys = bridge_keys().messages.public, gateway_keys().opening
    return [open_downlink(row["data"], GATEWAY, *keys, None) for row in desk.table("downlink")]


def tells(desk: BridgeDesk) -> Recipients | None:
    """Let the bridge look; return what it said, None if it said nothing."""
    before = len(told(desk))
    count = desk.store.sharing.tell_homes(desk.now)
    new = told(desk)[before:]
    assert len(new) == count <= 1
    if not new:
        return None
    assert isinstance(new[0].message, Recipients)
    assert new[0].header.expires_at == new[0].message.until == desk.now + LASTS
    return new[0].message


def test_a_home_is_told_when_consents_and_keys_change(desk: BridgeDesk) -> None:
    gives(desk, BP)
    assert tells(desk) is None  # nobody has a key
    desk.store.sharing.add_organization("clinic", CLINIC.public.sealing, Kem.MLKEM768_X25519, desk.now)
    first = tells(desk)
    assert first is not None
    (share,) = first.shares
    assert (share.person, share.recipient) == ("p-1", CLINIC.public.sealing)
    assert share.quantities == (Quantity.BLOOD_PRESSURE, Quantity.PULSE_RATE)
    assert tells(desk) is None
    gives(desk, SUGAR, until=desk.now + dt.timedelta(days=9))
    second = tells(desk)
    assert second is not None
    assert [one.until for one in second.shares] == [desk.now + dt.timedelta(days=9), None]
    desk.now += dt.timedelta(days=9)
    third = tells(desk)  # one has ended
    assert third is not None
    assert third.shares == first.shares
    desk.now += ANEW
    assert tells(desk) is not None  # it would end by itself
    desk.store.access.withdraw_consent("patient-1", TO, BP, by="p", now=desk.now)
    last = tells(desk)
    assert last is not None
    assert last.shares == ()
    desk.now += ANEW
    assert tells(desk) is None
    numbers = [row["sequence"] for row in desk.table("downlink")]
    assert [one.header.sequence for one in told(desk)] == numbers == sorted(set(numbers))
    assert len(numbers) == 5


def test_a_record_from_a_backup_does_not_say_a_number_again(desk: BridgeDesk) -> None:
    desk.store.sharing.add_organization("clinic", CLINIC.public.sealing, Kem.MLKEM768_X25519, desk.now)
    desk.store.access.give_consent("patient-1", TO, BP, text_version="1", by="p", now=desk.now)
    tells(desk)
    (before,) = (one.header.sequence for one in told(desk))
    with desk.store.engine.begin() as connection:
        connection.execute(schema.downlink.delete())
        connection.execute(schema.gateway.update().values(downlink_sequence=0))  # as the backup knew it
    desk.now += dt.timedelta(hours=1)
    desk.store.access.withdraw_consent("patient-1", TO, BP, by="p", now=desk.now)
    tells(desk)
    (after,) = (one.header.sequence for one in told(desk))
    assert after > before


def test_what_an_envelope_brought_again_counts_as_well(desk: BridgeDesk) -> None:
    key = CLINIC.public.sealing
    desk.store.sharing.add_organization("clinic", key, Kem.MLKEM768_X25519, desk.now)
    desk.store.access.give_consent("patient-1", TO, BP, text_version="1", by="p", now=desk.now)
    old, new = SealingHome(outbox=1), SealingHome(outbox=2)
    first, second = blood_pressure("131", "81", minutes=1), blood_pressure("132", "82", minutes=3)
    desk.receive(old, old.seal(told_of(first)))
    both = new.seal([*told_of(first), *told_of(second)], also=(key,))
    desk.receive(new, both)
    assert [one.digest for one in desk.store.forwarding.envelopes("clinic", key, desk.now)] == [both.digest]
    desk.receive(old, old.seal([assigned(first, "p-2", later=60)]))
    assert list(desk.store.forwarding.envelopes("clinic", key, desk.now)) == []


def test_a_home_that_comes_back_is_told_again(desk: BridgeDesk) -> None:
    desk.store.sharing.add_organization("clinic", CLINIC.public.sealing, Kem.MLKEM768_X25519, desk.now)
    gives(desk, BP)
    assert tells(desk) is not None
    desk.store.access.withdraw_consent("patient-1", TO, BP, by="p", now=desk.now)
    assert tells(desk) is not None
    for which, said in ((Presence.LOST, False), (Presence.ONLINE, True)):
        desk.now += dt.timedelta(hours=1)
        status = Status(presence=which, software="1", since=desk.now)
        desk.store.presence.note([Told(GATEWAY, status, kept=False)], desk.now)
        desk.now += dt.timedelta(seconds=5)
        again = tells(desk)
        assert (again is not None) is said
        assert again is None or again.shares == ()
        assert tells(desk) is None


def test_an_organizations_key_may_go_and_must_be_of_the_hospitals_kind(desk: BridgeDesk) -> None:
    sharing, key = desk.store.sharing, CLINIC.public.sealing
    classical = BridgeKeys.generate(Kem.X25519).public.sealing
    with pytest.raises(Misconfigured, match="weakest recipient"):
        sharing.add_organization("clinic", classical, Kem.MLKEM768_X25519, desk.now)
    sharing.add_organization("clinic", key, Kem.MLKEM768_X25519, desk.now)
    with pytest.raises(Rejected, match="has a key already"):
        sharing.add_organization("clinic", key, Kem.MLKEM768_X25519, desk.now)
    gives(desk, BP)
    assert tells(desk) is not None
    sharing.remove_organization("clinic")
    gone = tells(desk)
    assert gone is not None
    assert gone.shares == ()
    with pytest.raises(Rejected, match="no organization clinic"):
        sharing.remove_organization("clinic")


def test_organizations_are_kept_by_command(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    write_private(tmp_path / "bridge.key", bridge_keys())
    write_public(tmp_path / "clinic.pub", CLINIC.public)

    def organization(*arguments: str) -> str:
        done = CliRunner().invoke(organizations, [*arguments, "--config", str(path)])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    key = CLINIC.public.sealing.key_id.hex()
    assert json.loads(organization("add", "clinic", f"{tmp_path}/clinic.pub"))["key"] == key
    assert json.loads(organization("list")) == {"clinic": key}
    organization("remove", "clinic")
    assert json.loads(organization("list")) == {}
    with pytest.raises(Rejected, match="nobody to consent to"):
        organization("add", " ", f"{tmp_path}/clinic.pub")
    with pytest.raises(Misconfigured):
        organization("add", "clinic", f"{tmp_path}/bridge.key")


def test_an_export_reads_no_envelope_of_somebody_who_never_consented(tmp_path: Path) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    gives(desk, BP)
    for number, person in enumerate(("p-1", "p-2", "p-2", "p-2", None)):
        m = blood_pressure("120", minutes=number)
        desk.receive(home, home.seal(told_of(m, person), also=[CLINIC.public.sealing]))
    asked: list[str] = []
    event.listen(desk.store.engine, "before_cursor_execute", lambda *said: asked.append(str(said[2])))
    found = list(desk.store.forwarding.envelopes("clinic", CLINIC.public.sealing, desk.now))
    assert len(found) == 1
    assert len([one for one in asked if "envelope.data" in one]) == 1
    desk.close()


def test_what_was_sealed_to_an_organization_is_passed_on_while_consent_holds(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    desk, folder, home = BridgeDesk(tmp_path / "state"), tmp_path / "out", SealingHome()
    write_private(tmp_path / "bridge.key", bridge_keys())
    path = written(tmp_path, GOOD)
    desk.store.sharing.add_organization("clinic", CLINIC.public.sealing, Kem.MLKEM768_X25519, desk.now)

    def export(name: str = "clinic") -> int:
        done = CliRunner().invoke(organizations, ["export", name, str(folder), "--config", str(path)])
        if done.exception is not None:
            raise done.exception
        return int(json.loads(done.stdout)["written"])

    def measures(value: str, minutes: float, *, shared: bool = True, person: str | None = "p-1") -> bytes:
        m = blood_pressure(value, minutes=minutes)
        sealed = home.seal(told_of(m, person), also=[CLINIC.public.sealing] if shared else [])
        desk.receive(home, sealed)
        return sealed.digest

    first = measures("120", 1)
    measures("121", 2, shared=False)
    measures("122", 3, person="p-2")
    measures("123", 4, person=None)
    assert export() == 0
    gives(desk, BP)
    assert [export(), export()] == [1, 0]
    (file,) = folder.glob("*.envelope")
    (key,) = folder.glob("*.pub")
    assert file.stem == first.hex()
    signer = read_public(key, GatewayPublic).signing
    opened = open_sealed(file.read_bytes(), lambda _: signer, CLINIC.by_id)
    assert opened.digest == first
    noted = [one for one, _ in desk.store.access.entries() if one.account == "export"]
    assert [(one.patient, one.data, one.allowed) for one in noted] == [("patient-1", BP, True)]
    more = [measures(str(130 + n), 10 + n) for n in range(5)]
    assert [export(), export()] == [5, 0]
    assert {one.stem for one in folder.glob("*.envelope")} == {first.hex(), *(one.hex() for one in more)}
    measures("124", 5)
    desk.store.access.withdraw_consent("patient-1", TO, BP, by="p", now=desk.now)
    assert export() == 0
    with pytest.raises(Rejected, match="no organization other"):
        export("other")
    desk.close()


async def test_the_loop_goes_on_when_the_store_does_not() -> None:
    answers: list[int | None] = [None, None, 2, 0, 1]
    woken: list[int] = []

    class Homes:
        def tell_homes(self, _now: dt.datetime) -> int:
            answer = answers.pop(0) if answers else 0
            if answer is None:
                raise Unreachable("the disk is full")
            return answer

    loop = SharingLoop(Homes(), lambda: dt.datetime.now(dt.UTC), lambda: woken.append(1), silent(), 0.01)
    task = asyncio.create_task(loop.run())
    await eventually(lambda: len(woken) == 2)
    task.cancel()
    await asyncio.wait([task])


async def test_from_a_consent_to_the_envelope_and_back(tmp_path: Path) -> None:
    """An agent of its own, killed and started again; what it sealed before a withdrawal stays as it is."""
    (tmp_path / "bridge").mkdir()
    async with street(tmp_path) as one, bridge(tmp_path / "bridge", int(one.hospital.client.port)) as running:
        store = running.store

        def now() -> dt.datetime:
            return dt.datetime.now(dt.UTC)

        def changed() -> int:
            return sum(line["event"] == "recipients_changed" for line in one.log())

        def rows() -> list[bytes]:
            found = store.counts()["envelopes"]
            with store.engine.connect() as connection:
                query = "SELECT data FROM envelope ORDER BY outbox_id, sequence LIMIT ?"
                return [row[0] for row in connection.exec_driver_sql(query, (found,))]

        def opened() -> list[Measurement]:
            """What the clinic can read of all that the hospital was sent."""
            found: list[Measurement] = []
            for data in rows():
                try:
                    payload = open_sealed(data, lambda _: gateway_keys().signing.public, CLINIC.by_id).payload
                except Rejected:
                    continue
                found += [item for item in decode_items(payload) if isinstance(item, Measurement)]
            return found

        loop = SharingLoop(store.sharing, now, running.replies.wake, silent(), 0.05)
        telling = asyncio.create_task(loop.run())
        try:
            store.sharing.add_organization("clinic", CLINIC.public.sealing, Kem.MLKEM768_X25519, now())
            await _measured(one, store, 181)
            assert opened() == []
            store.access.give_consent("patient-1", TO, BP, text_version="kiteline-1", by="p", now=now())
            await eventually(lambda: changed() == 1)
            await one.agent.kill()
            await one.agent.start()  # what it was told is on its card
            await _measured(one, store, 182)
            assert [m.components[0].value for m in opened()] == [182]
            await one.devices.ask("measure", device="meter")
            await eventually(lambda: Quantity.GLUCOSE in _stored(store))
            assert {m.quantity for m in opened()} == {Quantity.BLOOD_PRESSURE}
            await one.agent.stop()
            store.access.withdraw_consent("patient-1", TO, BP, by="p", now=now())
            await eventually(lambda: store.sharing.tell_homes(now()) == 0 and _told(store) == 2)
            await one.agent.start()
            await eventually(lambda: changed() == 2)
            await _measured(one, store, 183)
            assert [m.components[0].value for m in opened()] == [182]
        finally:
            telling.cancel()
            await asyncio.wait([telling])
