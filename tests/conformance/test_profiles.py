"""Every profile of the live catalogue meets one suite, on its own captures; nothing here names a device."""

import datetime as dt
from collections.abc import Iterable

import pytest

from device_drivers.capture import (
    Capture,
    Origin,
    Session,
    capture_of,
    differences,
    parse_capture,
    written,
)
from device_drivers.catalogue import Catalogue
from device_drivers.device_time import local_digits
from device_drivers.driver import GatewayTime, Reading
from device_drivers.profile import DeviceProfile, Evidence
from device_drivers.quantities.record_access import OpCode
from device_drivers.rehearsal import RECEIVED_AT, Replay, carry_out
from device_drivers.replay import GattReplay
from edge_agent.assignment import Pairing, assign
from wire_format.measurement import Measurement
from wire_format.statements import Undecodable

from faults import overwritten, packets, repeated, truncated, with_clock
from gatt_link import Kept, visit_of
from virtual_time import virtually

NOW = RECEIVED_AT
PROFILES = Catalogue().profiles
CAPTURES = {name: capture_of(name) for name in PROFILES}
SESSIONS = [
    pytest.param(PROFILES[name], session, id=f"{name}:{session.id}")
    for name, capture in CAPTURES.items()
    for session in (capture.sessions if capture else ())
]
every_session = pytest.mark.parametrize(("profile", "session"), SESSIONS)


class Outcome:
    """What one visit gave: its readings, how it ended, and the link that was used."""

    def __init__(self, sink: Kept, link: Replay, ended: Exception | None) -> None:
        self.readings: list[Reading] = sink.readings
        self.link, self.ended = link, ended

    @property
    def measured(self) -> list[Measurement]:
        return [r for r in self.readings if isinstance(r, Measurement)]

    @property
    def ids(self) -> set[object]:
        return {m.measurement_id for m in self.measured}

    @property
    def by_clock(self) -> set[object]:
        """The readings that are known by what the device says of them, not by when they were read."""
        return {m.measurement_id for m in self.measured if m.record or m.time.stated}

    def holds(self, data: bytes) -> bool:
        """Whether bytes are kept, as a reading's or as undecodable ones."""
        raws = [r.raw.data for r in self.readings if isinstance(r, Undecodable)]
        raws += [raw.data for m in self.measured for raw in m.provenance.raw]
        return any(data in raw for raw in raws)


async def _visit(
    profile: DeviceProfile, session: Session, sink: Kept, at: dt.datetime, cut: int | None
) -> tuple[Replay, Exception | None]:
    visit = visit_of(
        profile,
        sink,
        lambda: GatewayTime(at, 50, 1_000_000_000),
        consents=session.consents,
        bind_key=None if session.bind_key is None else bytes.fromhex(session.bind_key),
        address=session.address,
    )
    return await carry_out(profile, session, visit, cut)


def visited(
    profile: DeviceProfile, session: Session, *, at: dt.datetime = NOW, cut: int | None = None
) -> Outcome:
    sink = Kept()
    link, ended = virtually(_visit(profile, session, sink, at, cut))
    return Outcome(sink, link, ended)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_carries_captures_and_claims_no_more_than_they_show(name: str) -> None:
    capture, profile = CAPTURES[name], PROFILES[name]
    assert capture is not None, f"firmware_profiles/{name}.capture.json is missing"
    assert capture.profile == name
    real = [session for session in capture.sessions if session.origin is Origin.REAL]
    assert (profile.evidence is Evidence.SPECIFICATION) == (not real)
    assert any(session.expect for session in capture.sessions)
    assert parse_capture(name, written(capture).encode()) == capture


@every_session
def test_a_session_gives_what_it_expects(profile: DeviceProfile, session: Session) -> None:
    outcome = visited(profile, session)
    assert differences(outcome.readings, session.expect) == []
    stamped = [m.provenance for m in outcome.measured]
    assert all(p.profile == profile.name and p.profile_hash == profile.content_hash for p in stamped)
    assert all(p.driver == profile.driver and p.raw for p in stamped)


@every_session
def test_a_disconnect_at_every_packet_changes_no_reading(profile: DeviceProfile, session: Session) -> None:
    whole, before = visited(profile, session), 0
    for cut in range(len(packets(session))):
        outcome = visited(profile, session, cut=cut)
        assert outcome.ids <= whole.ids
        assert len(outcome.ids) >= before
        before = len(outcome.ids)


@every_session
def test_a_truncation_at_every_byte_is_kept_and_is_no_other_reading(
    profile: DeviceProfile, session: Session
) -> None:
    whole = visited(profile, session)
    for left, broken in truncated(session):
        outcome = visited(profile, broken)
        assert outcome.by_clock <= whole.ids, left.hex()
        assert outcome.ended or outcome.holds(left) or whole.ids == outcome.ids, left.hex()


@every_session
def test_a_packet_said_twice_is_one_reading(profile: DeviceProfile, session: Session) -> None:
    whole = visited(profile, session)
    for again in repeated(session):
        outcome = visited(profile, again)
        assert outcome.by_clock <= whole.by_clock
        assert outcome.ended or outcome.by_clock == whole.by_clock


@every_session
def test_a_packet_of_ones_is_kept(profile: DeviceProfile, session: Session) -> None:
    whole = visited(profile, session)
    for ones, broken in overwritten(session):
        outcome = visited(profile, broken)
        assert outcome.ended or outcome.holds(ones) or outcome.ids == whole.ids, ones.hex()


@every_session
def test_another_day_of_receiving_changes_no_identity(profile: DeviceProfile, session: Session) -> None:
    later = visited(profile, session, at=NOW + dt.timedelta(days=1))
    assert later.by_clock == visited(profile, session).by_clock


def wrong_clocks() -> Iterable[dt.datetime | None]:
    right = local_digits(NOW, 480)
    return (right - dt.timedelta(hours=7), right + dt.timedelta(days=400), dt.datetime(1970, 1, 1), None)  # noqa: DTZ001 - a device clock has no zone


@every_session
def test_a_wrong_clock_changes_no_identity(profile: DeviceProfile, session: Session) -> None:
    whole = visited(profile, session)
    for shown in wrong_clocks():
        wrong = with_clock(session, profile, shown)
        if wrong is not None:
            outcome = visited(profile, wrong)
            assert outcome.by_clock == whole.by_clock
            assert [m.components for m in outcome.measured] == [m.components for m in whole.measured]


@every_session
def test_an_unknown_user_is_nobody(profile: DeviceProfile, session: Session) -> None:
    for one in visited(profile, session).measured:
        other = 1 if one.user is None else (one.user + 1) % 256
        pairing = Pairing(one.device.device_id, "p-1", other, dt.datetime(1, 1, 2, tzinfo=dt.UTC))
        said = assign(one, [pairing], "gw", GatewayTime(NOW, 50, 1))
        assert said.person is None


@every_session
def test_nothing_is_ever_deleted(profile: DeviceProfile, session: Session) -> None:
    link = visited(profile, session).link
    if isinstance(link, GattReplay):
        asked = [data for name, data in link.written if name.startswith("00002a52")]
        assert all(data[:1] != bytes([OpCode.DELETE]) for data in asked)


@every_session
def test_a_sink_that_fails_ends_the_visit(profile: DeviceProfile, session: Session) -> None:
    if not visited(profile, session).readings:
        return
    with pytest.raises(OSError, match="no space"):
        virtually(_visit(profile, session, Kept(fail=OSError("no space left")), NOW, None))


def test_a_capture_that_says_otherwise_is_seen() -> None:
    some = next(p for p in SESSIONS if str(p.id).startswith("standard/blood_pressure:"))
    profile, session = some.values
    assert isinstance(session, Session)
    assert isinstance(profile, DeviceProfile)
    outcome = visited(profile, session)
    assert differences(outcome.readings, ({**session.expect[0], "user": 99}, *session.expect[1:]))
    assert differences(outcome.readings, session.expect[1:])
    said = session.exchange[packets(session)[0]]
    changed = session.model_copy(update={"exchange": (said.model_copy(update={"hex": "00"}),)})
    assert differences(visited(profile, changed).readings, session.expect)


def test_captures_name_what_is_wrong_in_them() -> None:
    from wire_format.errors import Misconfigured  # noqa: PLC0415 - only here

    for content, said in ((b"{", "JSON"), (b'{"format": "x"}', "format"), (b'{"colour": 1}', "colour")):
        with pytest.raises(Misconfigured, match=said):
            parse_capture("x/y", content)
    some = next(c for c in CAPTURES.values() if c)
    twice = written(Capture.model_construct(**dict(some) | {"sessions": some.sessions[:1] * 2})).encode()
    with pytest.raises(Misconfigured, match="two sessions have one id"):
        parse_capture("x/y", twice)
