"""A device that knows several people: each slot is asked for, and a refusal says what to do."""

import datetime as dt

import pytest

from device_drivers.capture import Exchange, Kind, Origin, Session, capture_of, differences
from device_drivers.catalogue import Catalogue, driver_of
from device_drivers.consent import ConsentRefused
from device_drivers.driver import GatewayTime
from device_drivers.link import LinkLost, uuid16
from device_drivers.profile import DeviceProfile, parse_profile
from device_drivers.replay import GattReplay
from edge_agent.config import DeviceSection
from wire_format.errors import Misconfigured
from wire_format.measurement import Measurement
from wire_format.nomenclature import Quantity
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from gatt_link import Kept, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PROFILES = Catalogue().profiles
PLAIN = parse_profile(
    "x/scale",
    b"""
title = "A scale with users"
driver = "gatt_push"
evidence = "specification"
[match]
services = ["181D"]
[records]
characteristics = ["2A9D"]
first_s = 5
idle_s = 1
[[steps]]
do = "consent"
[[steps]]
do = "subscribe"
on = "2A9D"
[users]
consent = true
""",
)
WEIGHT = "0e783eea07050c12353601ee002607"


def one(kind: Kind, on: str, data: str | None = None, **more: object) -> Exchange:
    return Exchange.model_validate({"kind": kind, "on": on, "hex": data, **more})


def asked(slot: int, code: int, result: int = 1) -> list[Exchange]:
    request = bytes([2, slot]) + code.to_bytes(2, "little")
    return [one(Kind.WRITE, "2A9F", request.hex()), one(Kind.NOTIFY, "2A9F", f"2002{result:02x}")]


def run(
    consents: dict[int, int], *exchange: Exchange, profile: DeviceProfile = PLAIN
) -> tuple[Kept, GattReplay, Exception | None]:
    sink = Kept()
    session = Session(id="s", origin=Origin.SYNTHETIC, source="made up", exchange=exchange)

    async def visit() -> tuple[GattReplay, Exception | None]:
        link = GattReplay(session)
        try:
            chosen = visit_of(profile, sink, lambda: GatewayTime(NOW, 50, 1), consents=consents)
            await driver_of(profile).collect(link, chosen)
        except (ConsentRefused, Misconfigured, LinkLost) as error:
            return link, error
        return link, None

    return sink, *virtually(visit())


def events(sink: Kept) -> list[tuple[DeviceEventKind, str]]:
    return [(r.kind, r.detail or "") for r in sink.readings if isinstance(r, DeviceEvent)]


def test_the_slots_of_the_home_are_asked_for_and_no_other() -> None:
    sink, link, ended = run(
        {1: 3752, 3: 77},
        *asked(3, 77),
        one(Kind.SUBSCRIBE, "2A9D"),
        one(Kind.NOTIFY, "2A9D", WEIGHT.replace("01ee00", "03ee00")),
        *asked(1, 3752),
        one(Kind.NOTIFY, "2A9D", WEIGHT),
    )
    assert ended is None
    assert link.unrecorded == []
    assert [m.user for m in sink.readings if isinstance(m, Measurement)] == [3, 1]
    assert events(sink) == []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (2, "knows no consent"),
        (3, "no such slot"),
        (4, "failed"),
        (5, "not that of this slot"),
        (99, "value 99"),
    ],
)
def test_a_refused_slot_is_told_and_the_others_are_read(result: int, said: str) -> None:
    sink, _, ended = run(
        {1: 3752, 3: 77}, *asked(3, 77, result), *asked(1, 3752), one(Kind.NOTIFY, "2A9D", WEIGHT)
    )
    assert ended is None
    ((kind, detail),) = events(sink)
    assert kind is DeviceEventKind.CONSENT_REFUSED
    assert detail.startswith("Slot 3 was not opened")
    assert said in detail
    assert "[[device]]" in detail
    assert "77" not in detail  # the code is a secret of the home
    assert len(sink.readings) == 2


def test_nobody_admitted_is_a_named_error_also_when_the_device_is_silent() -> None:
    sink, _, ended = run({1: 3752}, *asked(1, 3752, 5))
    assert isinstance(ended, ConsentRefused)
    assert len(events(sink)) == 1
    silent = (one(Kind.WRITE, "2A9F", "0201a80e"), one(Kind.WRITE, "2A9F", "ff"))  # what is never written
    broken = (one(Kind.NOTIFY, "2A9F", "02"), one(Kind.NOTIFY, "2A9F", "200105"), silent[1])
    for exchange in (silent, (silent[0], *broken)):
        sink, _, ended = run({1: 3752}, *exchange)
        assert isinstance(ended, ConsentRefused)
        assert "did not answer" in events(sink)[0][1]


def test_no_code_and_no_service_are_said_to_be_missing() -> None:
    _, link, ended = run({}, one(Kind.NOTIFY, "2A9D", WEIGHT))
    assert "write slot and consent_code" in str(ended)
    assert link.written == []
    _, _, ended = run({1: 2}, one(Kind.NOTIFY, "2A9D", WEIGHT))
    assert "no User Data Service" in str(ended)


def test_a_device_that_closes_after_one_user_is_asked_for_another_next_time() -> None:
    sink, _, ended = run({1: 3752, 3: 77}, *asked(3, 77), one(Kind.NOTIFY, "2A9D", WEIGHT))
    assert ended is None
    assert len(sink.readings) == 1
    _, _, ended = run({1: 3752}, one(Kind.SUBSCRIBE, "2A9F"))
    assert isinstance(ended, LinkLost)


def test_a_beurer_scale_is_given_its_users_profile_as_it_was_read() -> None:
    capture = capture_of("beurer/bf788")
    assert capture is not None
    session = next(s for s in capture.sessions if s.id == "issue 229")
    sink, link, ended = run({1: 2520}, *session.exchange, profile=PROFILES["beurer/bf788"])
    assert ended is None
    assert differences(sink.readings, session.expect) == []
    assert [(name[4:8], data.hex()) for name, data in link.written] == [
        ("fff2", "00"),
        ("2a9f", "0201d809"),
        ("2a85", "bc070101"),
        ("2a8c", "00"),
        ("2a8e", "aa00"),
        ("fff3", "03"),
        ("2a99", "01000000"),
    ]


def test_what_a_beurer_scale_refuses_is_left_alone() -> None:
    sink, link, ended = run(
        {1: 2520},
        one(Kind.WRITE, "FFF2", "00"),
        one(Kind.REFUSED, "FFF2", code=3),
        *asked(1, 2520),
        one(Kind.READ, "2A85", "bc070101"),
        one(Kind.REFUSED, "2A85", code=2),
        one(Kind.READ, "2A8C", ""),
        one(Kind.WRITE, "2A99", "01000000"),
        one(Kind.NOTIFY, "2A9D", WEIGHT),
        profile=PROFILES["beurer/bf788"],
    )
    assert ended is None
    assert [name for name, _ in link.written if name in {uuid16(0x2A85), uuid16(0x2A8C)}] == []
    assert [m.user for m in sink.readings if isinstance(m, Measurement)] == [1]


def test_a_composition_takes_the_time_of_its_own_weight_only() -> None:
    composition = "9803f300962389014042fa2f550f"
    other = composition.replace("f300", "f400")
    weight = one(Kind.NOTIFY, "2A9D", WEIGHT)
    broken = one(Kind.NOTIFY, "2A9D", WEIGHT[:-2])
    sink, _, _ = run(
        {1: 2520},
        *asked(1, 2520),
        weight,
        one(Kind.NOTIFY, "2A9C", composition),
        one(Kind.NOTIFY, "2A9C", other),
        weight,
        broken,
        one(Kind.NOTIFY, "2A9C", other),
        profile=PROFILES["beurer/bf720"],
    )
    stated = [
        (len(m.provenance.raw), m.time.stated, m.user) for m in sink.readings if isinstance(m, Measurement)
    ]
    at = dt.datetime(2026, 5, 12, 18, 53, 54)  # noqa: DTZ001 - a device clock has no zone
    assert stated == [(1, at, 1), (2, at, 1), (1, None, None), (1, at, 1), (1, None, None)]
    assert sum(isinstance(r, Undecodable) for r in sink.readings) == 1


def test_a_composition_of_one_person_never_takes_the_weight_of_another() -> None:
    composition = "9803f300962389014042fa2f550f"
    sink, _, ended = run(
        {1: 2520, 3: 77},
        *asked(3, 77),
        one(Kind.NOTIFY, "2A9D", WEIGHT.replace("01ee00", "03ee00")),
        *asked(1, 2520),
        one(Kind.NOTIFY, "2A9C", composition),  # its own weight was lost
        profile=PROFILES["beurer/bf720"],
    )
    assert ended is None
    told = [(m.quantity, m.user) for m in sink.readings if isinstance(m, Measurement)]
    assert told == [(Quantity.BODY_WEIGHT, 3), (Quantity.BODY_COMPOSITION, None)]


def test_a_list_that_never_ends_is_not_waited_for() -> None:
    sink, _, ended = run(
        {1: 2520},
        one(Kind.WRITE, "FFF2", "00"),
        one(Kind.NOTIFY, "FFF2", "0001"),
        *asked(1, 2520, 5),
        profile=PROFILES["beurer/bf788"],
    )
    assert isinstance(ended, ConsentRefused)
    assert [kind for kind, _ in events(sink)] == [DeviceEventKind.CONSENT_REFUSED]


def test_neither_code_nor_key_is_shown_where_a_visit_or_a_section_is() -> None:
    visit = visit_of(
        PLAIN, Kept(), lambda: GatewayTime(NOW, 50, 1), consents={1: 4711}, bind_key=b"\xab" * 16
    )
    section = DeviceSection.model_validate(
        {"address": "C0:49:5F:00:00:01", "person": "p-1", "since": NOW, "slot": 1}
        | {"consent_code": 4711, "bind_key": "ab" * 16}
    )
    shown = f"{visit!r} {section!r}"
    assert "C0:49:5F:00:00:01" in shown
    assert "4711" not in shown
    assert "abab" not in shown
    assert "xab" not in shown
