"""Whom a home seals to beside its hospital: what the hospital works out, and what the home does with it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import DataType
from cloud_bridge.sharing import ANEW, AT_MOST_EVERY, is_due, shares
from device_drivers.driver import Reading
from edge_agent.assignment import Pairing
from edge_agent.clock import GatewayClock, vouched
from edge_agent.outbox import Outbox
from edge_agent.sharing import KIND, Sharing
from edge_agent.sink import OutboxSink, Sealer
from tests.doubles.edge_readings import BOOT, CUFF, NOON, bridge_keys, gateway_keys, pressure
from wire_format.base import plain
from wire_format.canonical import encode
from wire_format.codec import decode_items
from wire_format.cose import MAX_RECIPIENTS
from wire_format.downlink import Recipients, Share
from wire_format.envelope import open_sealed
from wire_format.errors import Rejected
from wire_format.keys import BridgeKeys, Kem, OpenKey
from wire_format.measurement import Measurement
from wire_format.nomenclature import Quantity

CLINIC, PRACTICE = BridgeKeys.generate(), BridgeKeys.generate()
DAY = dt.timedelta(days=1)
BP, SUGAR = Quantity.BLOOD_PRESSURE, Quantity.GLUCOSE


def share(
    keys: BridgeKeys | OpenKey, *quantities: Quantity, person: str = "p-1", name: str = "clinic"
) -> Share:
    key = keys.public if isinstance(keys, OpenKey) else keys.public.sealing
    return Share(person=person, organization=name, kem=key.kem, key=key.raw, quantities=quantities)


def said(*found: Share, until: dt.datetime = NOON + 30 * DAY) -> Recipients:
    return Recipients(shares=found, until=until)


def sharing(utc: dt.datetime | None = NOON) -> Sharing:
    return Sharing(bridge_keys().opening.public, lambda: utc)


# --- the home ---


def test_nobody_beside_the_hospital_unless_it_says_so() -> None:
    one = sharing()
    assert one.also("p-1", BP) == ()
    assert one.take(3, said(share(CLINIC, BP)))
    assert one.also("p-1", BP) == (CLINIC.public.sealing,)
    assert [one.also("p-1", SUGAR), one.also("p-2", BP), one.also(None, BP)] == [(), (), ()]


def test_only_what_is_newer_counts() -> None:
    one = sharing()
    assert one.take(5, said())
    assert not one.take(4, said(share(CLINIC, BP)))
    assert not one.take(5, said(share(CLINIC, BP)))
    assert one.also("p-1", BP) == ()


def test_what_has_ended_or_cannot_be_judged_is_not_shared() -> None:
    for utc in (None, NOON, NOON + DAY):
        one = sharing(utc)
        one.take(1, said(share(CLINIC, BP), until=NOON))
        assert one.also("p-1", BP) == ()
        ended = share(CLINIC, BP).model_copy(update={"until": NOON})
        one.take(2, said(ended, until=NOON + 9 * DAY))
        assert one.also("p-1", BP) == ()


def test_a_key_that_cannot_be_used_costs_no_reading() -> None:
    one = sharing()
    odd = share(CLINIC, BP).model_copy(update={"key": b"\0" * 5})
    classical = share(OpenKey.generate(Kem.X25519), BP)
    many = [share(OpenKey.generate(), BP) for _ in range(MAX_RECIPIENTS + 2)]
    one.take(1, said(odd, classical, share(bridge_keys(), BP), share(CLINIC, BP), share(CLINIC, BP)))
    assert one.also("p-1", BP) == (CLINIC.public.sealing,)
    one.take(2, said(*many))
    assert len(one.also("p-1", BP)) == MAX_RECIPIENTS - 1


def heard(sequence: int, message: Recipients, kind: str = KIND) -> tuple[int, str, bytes]:
    return sequence, kind, encode([NOON, plain(message)])


def test_it_is_known_again_after_a_start_and_nothing_older_is_taken() -> None:
    one = sharing()
    one.recall([heard(2, said()), heard(7, said(share(CLINIC, BP))), (9, "SeenByCareTeam", b"")])
    assert one.also("p-1", BP) == (CLINIC.public.sealing,)
    assert not one.take(6, said())
    for kept, floor in (([], 0), ([(40, "SeenByCareTeam", b"")], 39), ([(5, KIND, b"\xff")], 5)):
        other = sharing()
        other.recall(kept)
        assert (other.sequence, other.also("p-1", BP)) == (floor, ())


def test_an_envelope_is_sealed_to_those_whose_consent_covers_all_of_it(tmp_path: Path) -> None:
    known = sharing()
    known.take(1, said(share(CLINIC, BP), share(PRACTICE, BP, SUGAR, name="practice")))
    clock = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: NOON)
    box = Outbox(tmp_path, "gw-1", utc=lambda: NOON)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,), known)
    pairing = (Pairing(CUFF.device_id, "p-1", None, NOON - DAY),)
    sugar = pressure(99).model_copy(update={"quantity": SUGAR, "measurement_id": UUID(int=5)})
    readings: Sequence[Reading] = [pressure(120), sugar, pressure(130)]
    OutboxSink(box, sealer, clock, CUFF.device_id, pairing).commit(readings)
    data = [box.load(key) or b"" for key in box.unsettled()]

    def opened(keys: BridgeKeys) -> list[list[Quantity]]:
        found = []
        for one in data:
            try:
                payload = open_sealed(one, lambda _: gateway_keys().signing.public, keys.by_id).payload
            except Rejected:
                continue
            items = decode_items(payload)
            found.append([item.quantity for item in items if isinstance(item, Measurement)])
        return found

    assert opened(bridge_keys()) == [[BP, BP], [SUGAR]]
    assert opened(CLINIC) == [[BP, BP]]
    assert opened(PRACTICE) == [[BP, BP], [SUGAR]]
    assert opened(BridgeKeys.generate()) == []
    box.close()


# --- the hospital ---


def consent(data: DataType, to: str = "organization:clinic", **changes: dt.datetime | None) -> Consent:
    one = Consent(UUID(int=1), "patient-1", to, data, "1", NOON - DAY, None, "p", NOON - DAY)
    return replace(one, **changes)  # type: ignore[arg-type]  # times


def worked_out(
    *given: Consent, now: dt.datetime = NOON
) -> list[tuple[str, set[Quantity], dt.datetime | None]]:
    keys = {"clinic": CLINIC.public.sealing, "practice": PRACTICE.public.sealing}
    found = shares([("p-1", given), ("p-2", [])], keys, now)
    assert {one.person for one in found} <= {"p-1"}
    return [(one.organization, set(one.quantities), one.until) for one in found]


def test_consents_become_quantities_of_a_person() -> None:
    body, pressure = {Quantity.BODY_WEIGHT, Quantity.BODY_COMPOSITION}, {BP, Quantity.PULSE_RATE}
    assert worked_out(consent(DataType.BODY)) == [("clinic", body, None)]
    assert worked_out(consent(DataType.ALERTS), consent(DataType.MEDICATION)) == []
    assert worked_out(consent(DataType.BODY, "nurse"), consent(DataType.BODY, "organization:other")) == []
    assert worked_out(consent(DataType.BODY, withdrawn_at=NOON + DAY)) == []
    ends = consent(DataType.BLOOD_PRESSURE, valid_until=NOON + DAY)
    assert worked_out(ends, consent(DataType.BODY)) == [
        ("clinic", pressure, NOON + DAY),
        ("clinic", body, None),
    ]
    assert worked_out(ends, consent(DataType.BLOOD_PRESSURE)) == [("clinic", pressure, None)]
    assert worked_out(ends, now=NOON + DAY) == worked_out(consent(DataType.BODY, valid_from=NOON + DAY)) == []


@pytest.mark.parametrize(
    ("wanted", "told", "told_before", "came_before", "due"),
    [
        (0, None, None, None, False),
        (1, None, None, None, True),
        (1, 1, DAY, None, False),
        (0, 1, DAY, None, True),
        (1, 0, DAY, None, True),
        (1, 1, ANEW, None, True),
        (0, 0, ANEW, None, False),
        (1, 1, DAY, dt.timedelta(hours=1), True),
        (0, 0, DAY, dt.timedelta(hours=1), True),
        (1, 1, DAY, 2 * DAY, False),
        (1, 1, AT_MOST_EVERY / 2, AT_MOST_EVERY / 4, False),
    ],
)
def test_a_home_is_told_what_changed_what_would_end_and_when_it_came(
    *,
    wanted: int,
    told: int | None,
    told_before: dt.timedelta | None,
    came_before: dt.timedelta | None,
    due: bool,
) -> None:
    found = (share(CLINIC, BP),)
    before = None if told is None else said(*found[:told])
    told_at = None if told_before is None else NOON - told_before
    came_at = None if came_before is None else NOON - came_before
    assert is_due(found[:wanted], before, told_at, came_at, NOON) is due
