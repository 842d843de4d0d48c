"""Ingest: what is right is stored once; what is wrong is kept, named, and never half-opened."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import cbor2
import pytest
from sqlalchemy import text, update

from cloud_bridge.steps import Step
from cloud_bridge.store import schema
from cloud_bridge.store.intake import REFUSED_KEPT
from tests.doubles.bridge_desk import BridgeDesk, assigned, told
from tests.doubles.bridge_home import GATEWAY, SITE, SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.edge_readings import gateway_keys
from wire_format.codec import UnknownItem, encode_items
from wire_format.cose import sign1
from wire_format.envelope import EnvelopeHeader, seal
from wire_format.keys import BridgeKeys
from wire_format.statements import GatewayEvent, GatewayEventKind
from wire_format.topics import Channel, Topic

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def test_one_reading_is_stored_filed_and_its_receipt_is_due(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal(told(m)))
    (one,) = desk.readings()
    assert (one.measurement, one.patient, one.measured) == (m, "patient-1", m.time.measured)
    (due,) = desk.store.outgoing.receipts_due(10)
    assert (due.site, due.gateway, due.sequence, due.verdict) == (SITE, GATEWAY, 1, "stored")
    assert due.digest == home.sealed[0].digest
    assert [(d["kind"], d["destination"]) for d in desk.table("delivery")] == [("reading", "fhir")]
    assert desk.table("inbox") == []
    assert desk.table("envelope")[0]["data"] == home.sealed[0].data


def test_the_same_envelope_again_is_receipted_again_and_that_is_all(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("190"))))
    desk.store.outgoing.receipted(desk.store.outgoing.receipts_due(10))
    before = desk.everything()
    desk.receive(home, home.sealed[0], home.sealed[0])
    assert len(desk.store.outgoing.receipts_due(10)) == 1
    desk.store.outgoing.receipted(desk.store.outgoing.receipts_due(10))
    assert desk.everything() == before


def test_the_same_reading_in_another_envelope_is_nothing_new(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("190")
    desk.receive(home, home.seal(told(m)), home.seal(told(m)))
    assert [row["wanted"] for row in desk.table("delivery")] == [1, 1]
    assert len(desk.table("measurement")) == len(desk.table("measurement_version")) == 1
    assert len(desk.store.outgoing.receipts_due(10)) == 2


def test_everything_else_a_home_says_is_kept(desk: BridgeDesk) -> None:
    home = SealingHome()
    event = GatewayEvent(event_id=UUID(int=5), kind=GatewayEventKind.STARTED, at=NOW, boot_id=UUID(int=7))
    desk.receive(home, home.seal([event, UnknownItem("of_tomorrow", {"a": 1})]))
    assert [row["kind"] for row in desk.table("item")] == ["gateway_event", "of_tomorrow"]


# --- what is wrong ---


@pytest.mark.parametrize("place", [0.02, 0.2, 0.5, 0.8, 0.98])
def test_a_changed_bit_is_refused_and_kept(desk: BridgeDesk, place: float) -> None:
    home = SealingHome()
    data = bytearray(home.seal(told(blood_pressure("130"))).data)
    data[int(len(data) * place)] ^= 1
    desk.receive_bytes(home.topic, bytes(data))
    assert [row["data"] for row in desk.table("refused")] == [bytes(data)]
    assert desk.readings() == []
    assert desk.store.outgoing.receipts_due(10) == []


def test_a_gateway_that_is_not_enrolled_is_refused(desk: BridgeDesk) -> None:
    stranger = SealingHome("gw-9")
    desk.receive(stranger, stranger.seal(told(blood_pressure("130"))))
    assert "not enrolled" in desk.table("refused")[0]["reason"]


def test_another_gateways_topic_is_refused(desk: BridgeDesk) -> None:
    desk.enrol("gw-2")
    home = SealingHome()
    desk.receive_bytes(str(Topic(SITE, "gw-2", Channel.UP)), home.seal(told(blood_pressure("130"))).data)
    desk.receive_bytes(str(Topic("elsewhere", GATEWAY, Channel.UP)), home.sealed[0].data)
    assert len(desk.table("refused")) == 2
    assert desk.readings() == []


@pytest.mark.parametrize("topic", ["kiteline/1/ward/gw-1/down", "kiteline/1/ward/gw-1", "some/other/topic"])
def test_another_channel_is_refused(desk: BridgeDesk, topic: str) -> None:
    home = SealingHome()
    desk.receive_bytes(topic, home.seal(told(blood_pressure("130"))).data)
    assert len(desk.table("refused")) == 1


def test_what_was_sealed_to_another_hospital_is_quarantined(desk: BridgeDesk) -> None:
    home = SealingHome()
    header = EnvelopeHeader(GATEWAY, home.outbox_id, 1, NOW, bytes(32))
    other = BridgeKeys.generate().opening.public
    foreign = seal(b"anything", header, gateway_keys().signing, (other,))
    desk.receive(home, foreign)
    (row,) = desk.table("envelope")
    assert (row["verdict"], row["data"]) == ("quarantined", foreign.data)
    assert desk.store.outgoing.receipts_due(10)[0].verdict == "quarantined"


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.98])
def test_what_a_gateway_signed_but_nobody_can_open_is_quarantined_whole(
    desk: BridgeDesk, place: float
) -> None:
    home = SealingHome()
    protected, unprotected, inner, _ = cbor2.loads(home.seal(told(blood_pressure("130"))).data).value
    assert unprotected == {}
    changed = bytearray(inner)
    changed[int(len(inner) * place)] ^= 1
    signed = sign1(protected, bytes(changed), gateway_keys().signing)
    desk.receive_bytes(home.topic, signed)
    (row,) = desk.table("envelope")
    assert (row["verdict"], row["data"]) == ("quarantined", signed)
    assert desk.readings() == []
    assert desk.store.outgoing.receipts_due(10)[0].verdict == "quarantined"


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", cbor2.dumps([1]), cbor2.dumps({"a": 1}), cbor2.dumps([1, [["measurement", {}]]])],
)
def test_a_payload_that_cannot_be_decoded_is_quarantined_and_blocks_nobody(
    desk: BridgeDesk, payload: bytes
) -> None:
    home = SealingHome()
    desk.receive(home, home.seal([], payload=payload), home.seal(told(blood_pressure("130"))))
    verdicts = {due.sequence: due.verdict for due in desk.store.outgoing.receipts_due(10)}
    assert verdicts == {1: "quarantined", 2: "stored"}
    assert len(desk.readings()) == 1


@pytest.mark.parametrize(
    ("old", "new"), [("blood_pressure", "of_tomorrow_xx"), ("systolic", "tomorrow"), ("mm[Hg]", "mm[Xx]")]
)
def test_a_quantity_of_a_newer_home_is_kept_and_blocks_nobody(desk: BridgeDesk, old: str, new: str) -> None:
    home = SealingHome()
    payload = encode_items(told(blood_pressure("130"))).replace(old.encode(), new.encode())
    assert new.encode() in payload
    desk.receive(home, home.seal([], payload=payload), home.seal(told(blood_pressure("131"))))
    verdicts = {due.sequence: due.verdict for due in desk.store.outgoing.receipts_due(10)}
    assert verdicts == {1: "quarantined", 2: "stored"}
    assert len(desk.readings()) == 1


# --- kills, and several workers ---


class _Killed(Exception):  # noqa: N818 - stands for a power cut
    pass


@pytest.mark.parametrize("step", [Step.OPENED, Step.INGEST_WRITTEN, Step.STORED])
def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path, step: Step) -> None:
    deadly = [True]

    def kill(at: Step, _facts: Mapping[str, object]) -> None:
        if at is step and deadly:
            deadly.clear()
            raise _Killed

    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    home = SealingHome()
    one = home.seal(told(blood_pressure("190")))
    whole, cut = BridgeDesk(tmp_path / "whole"), BridgeDesk(tmp_path / "cut", kill)
    whole.receive(home, one)
    with pytest.raises(_Killed):
        cut.receive(home, one)
    if step is not Step.STORED:
        assert cut.readings() == []
        assert len(cut.table("inbox")) == 1
    cut.ingest.drain()
    assert cut.everything() == whole.everything()
    whole.close()
    cut.close()


def test_two_workers_with_the_same_inbox_double_nothing(desk: BridgeDesk) -> None:
    home = SealingHome()
    for number in range(12):
        m = blood_pressure(str(120 + number), minutes=number)
        desk.store.intake.accept(home.topic, home.seal(told(m)).data, desk.now)
        desk.store.intake.accept(home.topic, home.sealed[-1].data, desk.now)
    desk.store.intake.accept(home.topic, b"nonsense", desk.now)
    messages = desk.store.intake.waiting(100)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for message in messages:
                desk.ingest.take(message)
        except BaseException as error:  # noqa: BLE001 - any failure of a worker fails the test
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert len(desk.readings()) == len(desk.table("envelope")) == 12
    assert len(desk.table("refused")) == 1
    assert {row["wanted"] for row in desk.table("delivery") if row["kind"] == "reading"} == {1}
    assert desk.table("inbox") == []


def test_an_unknown_pseudonym_is_nobodys(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal([m, assigned(m, "p-unknown")]))
    (one,) = desk.readings()
    assert one.patient is None
    assert desk.table("delivery") == []


def test_strangers_cannot_fill_the_disk(desk: BridgeDesk) -> None:
    desk.receive_bytes("some/other/topic", b"the oldest")
    with desk.store.engine.begin() as connection:
        connection.execute(update(schema.refused).values(id=REFUSED_KEPT + 1))
        if connection.dialect.name == "postgresql":  # it counts beside the table
            connection.execute(text(f"SELECT setval('refused_id_seq', {REFUSED_KEPT + 1})"))
    desk.receive_bytes("some/other/topic", b"in between")
    assert len(desk.table("refused")) == 2
    with desk.store.engine.begin() as connection:
        connection.execute(update(schema.refused).where(schema.refused.c.data == b"the oldest").values(id=1))
    desk.receive_bytes("some/other/topic", b"the newest")
    assert [row["data"] for row in desk.table("refused")] == [b"in between", b"the newest"]


def test_a_number_of_the_inbox_is_never_given_twice(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.store.intake.accept(home.topic, home.seal(told(blood_pressure("130"))).data, desk.now)
    (held,) = desk.store.intake.waiting(10)
    desk.ingest.drain()
    desk.store.intake.accept(home.topic, home.seal(told(blood_pressure("131", minutes=1))).data, desk.now)
    # A slow worker comes with what it saw before: it must not take the new message away.
    desk.ingest.take(held)
    assert len(desk.store.intake.waiting(10)) == 1
