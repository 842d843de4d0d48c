"""The outbox on real SQLite files: order, chain, crash, receipts, forgetting, and a card that fails."""

import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from edge_agent.outbox import VISITS_PER_FILE, Limits, Outbox
from edge_agent.outbox_file import Advance, EnvelopeKey, Fingerprint, Seal
from edge_agent.outbox_schema import OutboxFull
from edge_agent.steps import Step
from tests.doubles.edge_readings import NOON, bridge_keys, gateway_keys
from wire_format.envelope import FIRST_PREVIOUS, EnvelopeHeader, Sealed, digest_of, open_sealed, seal
from wire_format.errors import Misconfigured, Unreachable
from wire_format.receipt import Receipt, SettledRange, Verdict, range_digest


def plain(text: str) -> Seal:
    def under(header: EnvelopeHeader) -> Sealed:
        return seal(text.encode(), header, gateway_keys().signing, [bridge_keys().opening.public])

    return under


class Clock:
    now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


def outbox(folder: Path, clock: Clock | None = None, limits: Limits | None = None) -> Outbox:
    return Outbox(folder, "gw-1", limits=limits, utc=clock or Clock())


def receipt_of(box: Outbox, first: int, last: int, verdict: Verdict = Verdict.STORED) -> Receipt:
    keys = [k for k in everything(box) if k.outbox_id == box.outbox_id and first <= k.sequence <= last]
    digest = range_digest(digest_of(box.load(k) or b"") for k in keys)
    part = SettledRange(first=first, last=last, verdict=verdict, digest=digest)
    return Receipt(gateway="gw-1", outbox_id=box.outbox_id, issued_at=NOON, ranges=(part,))


def everything(box: Outbox) -> list[EnvelopeKey]:
    return [EnvelopeKey(box.outbox_id, n) for n in range(1, 100)]


def test_envelopes_form_a_chain_in_order(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    first = box.append([plain("a"), plain("b")])
    second = box.append([plain("c")])
    keys = box.unsettled()
    assert keys == first + second
    assert [k.sequence for k in keys] == [1, 2, 3]
    previous = FIRST_PREVIOUS
    for key, text in zip(keys, "abc", strict=True):
        data = box.load(key) or b""
        opened = open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id)
        assert opened.payload == text.encode()
        assert opened.header == EnvelopeHeader("gw-1", box.outbox_id, key.sequence, NOON, previous)
        previous = digest_of(data)


def test_all_of_a_commit_or_nothing_of_it(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    device, mark = uuid4(), Fingerprint(uuid4(), b"x")

    def fails(_: EnvelopeHeader) -> Sealed:
        raise Misconfigured("a recipient's key is wrong")

    with pytest.raises(Misconfigured):
        box.append([plain("a"), fails], fingerprints=[mark], advance=Advance(device, 5, 6))
    assert box.unsettled() == []
    assert not box.has_fingerprint(mark)
    assert box.advance_of(device) is None
    box.append([plain("a")], fingerprints=[mark], advance=Advance(device, 5, 6))
    assert box.has_fingerprint(mark)
    assert not box.has_fingerprint(Fingerprint(mark.item_id, b"a meal mark was added"))
    assert box.advance_of(device) == Advance(device, 5, 6)
    assert [k.sequence for k in box.unsettled()] == [1]


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_agent.outbox import Outbox
from edge_agent.steps import Step
from wire_format.envelope import Sealed, digest_of
def kill(step, facts):
    if step is Step[sys.argv[2]]:
        os.kill(os.getpid(), signal.SIGKILL)
box = Outbox(Path(sys.argv[1]), "gw-1", observer=kill)
data = b"not sealed: this test is about the card"
box.append([lambda header: Sealed(data, digest_of(data))])
"""


@pytest.mark.parametrize(
    ("step", "survives"),
    [(Step.SEALED, False), (Step.OUTBOX_WRITTEN, False), (Step.OUTBOX_COMMITTED, True)],
)
def test_a_kill_loses_nothing_that_was_committed(tmp_path: Path, step: Step, survives: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), step.name],
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == -signal.SIGKILL
    box = outbox(tmp_path)
    assert [k.sequence for k in box.unsettled()] == ([1] if survives else [])
    box.append([plain("next")])
    assert box.unsettled()[-1].sequence == (2 if survives else 1)


def test_the_chain_goes_on_after_reopening_and_visits_never_repeat(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    assert [box.take_visit_number() for _ in range(3)] == [1, 2, 3]
    box.append([plain("a")])
    chain = box.outbox_id
    box.close()
    again = outbox(tmp_path)
    assert again.outbox_id == chain
    assert not again.opened_chain
    assert again.take_visit_number() == 4
    again.append([plain("b")])
    data = again.load(again.unsettled()[1]) or b""
    header = open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).header
    assert header.previous == digest_of(again.load(again.unsettled()[0]) or b"")


def test_receipts_settle_selectively_and_only_their_own_bytes(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for n in range(6):
        box.append([plain(str(n))])
    settled = box.settle(receipt_of(box, 2, 3), time_known=True)
    assert [k.sequence for k in settled.keys] == [2, 3]
    assert [k.sequence for k in box.unsettled()] == [1, 4, 5, 6]
    assert box.settle(receipt_of(box, 2, 3), time_known=True).keys == ()
    assert [k.sequence for k in box.settle(receipt_of(box, 1, 4), time_known=True).keys] == [1, 4]
    other = SettledRange(first=5, last=6, verdict=Verdict.STORED, digest=bytes(32))
    too_long = SettledRange(first=5, last=7, verdict=Verdict.STORED, digest=bytes(32))
    for part in (other, too_long):
        wrong = Receipt(gateway="gw-1", outbox_id=box.outbox_id, issued_at=NOON, ranges=(part,))
        assert box.settle(wrong, time_known=True).strangers == 1
    assert [k.sequence for k in box.unsettled()] == [5, 6]
    stranger = receipt_of(box, 5, 6).model_copy(update={"outbox_id": uuid4()})
    assert box.settle(stranger, time_known=True).strangers == 1
    assert box.counts().waiting == 2


def test_a_fork_is_settled_and_another_chain_begins(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.append([plain("a")])
    settled = box.settle(receipt_of(box, 1, 1, Verdict.FORKED), time_known=True)
    assert settled.forked
    old = box.outbox_id
    assert box.begin_chain() != old
    (key,) = box.append([plain("b")])
    assert (key.outbox_id, key.sequence) == (box.outbox_id, 1)
    assert box.unsettled() == [key]


def test_settled_envelopes_are_kept_for_30_days(tmp_path: Path) -> None:
    clock = Clock()
    box = outbox(tmp_path, clock)
    key = box.append([plain("a"), plain("b")])[0]
    box.settle(receipt_of(box, 1, 1), time_known=True)
    clock.now = NOON + dt.timedelta(days=29)
    assert box.forget() == 0
    assert box.unsettle_from(box.outbox_id, 1) == 1
    assert [k.sequence for k in box.unsettled()] == [1, 2]
    box.settle(receipt_of(box, 1, 1), time_known=True)
    clock.now += dt.timedelta(days=31)
    assert box.forget() == 1
    assert box.load(key) is None
    assert [k.sequence for k in box.unsettled()] == [2]


def test_what_was_settled_at_an_unknown_time_is_kept_from_when_the_time_is_known(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    box = outbox(tmp_path, clock)
    box.append([plain("a")])
    box.settle(receipt_of(box, 1, 1), time_known=False)
    clock.now = NOON
    assert box.forget() == 0
    clock.now += dt.timedelta(days=31)
    assert box.forget() == 1


def test_settled_envelopes_are_bounded(tmp_path: Path) -> None:
    box = outbox(tmp_path, limits=Limits(max_settled=2))
    for n in range(5):
        box.append([plain(str(n))])
    box.settle(receipt_of(box, 1, 4), time_known=True)
    assert box.forget() == 2
    assert box.counts().settled == 2
    assert [k.sequence for k in everything(box) if box.load(k)] == [3, 4, 5]


def test_a_full_outbox_refuses_visits_and_overwrites_nothing(tmp_path: Path) -> None:
    box = outbox(tmp_path, limits=Limits(max_waiting=2))
    box.check_room()
    box.append([plain("a"), plain("b")])
    with pytest.raises(OutboxFull, match="no device is visited"):
        box.check_room()
    assert len(box.unsettled()) == 2
    box.settle(receipt_of(box, 1, 1), time_known=True)
    box.check_room()
    small = outbox(tmp_path / "small", limits=Limits(max_waiting_bytes=1))
    small.append([plain("a")])
    with pytest.raises(OutboxFull):
        small.check_room()


def test_a_damaged_file_is_kept_and_another_begun(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    first_chain = box.outbox_id
    box.append([plain("a")])
    box.close()
    path = tmp_path / "outbox-0001.sqlite"
    damaged = b"this is no database" * 300
    path.write_bytes(damaged)
    again = outbox(tmp_path)
    assert again.opened_chain
    assert len(again.failures) == 1
    assert again.outbox_id != first_chain
    assert path.read_bytes() == damaged
    assert again.take_visit_number() == VISITS_PER_FILE + 1
    again.append([plain("b")])
    assert [k.sequence for k in again.unsettled()] == [1]


def test_a_bit_that_flipped_is_not_published(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    (key,) = box.append([plain("a")])
    box.close()
    with sqlite3.connect(tmp_path / "outbox-0001.sqlite") as db:
        db.execute("UPDATE envelope SET data = CAST(x'00' || substr(data, 2) AS BLOB)")
    db.close()
    assert outbox(tmp_path).load(key) is None


def test_another_version_is_not_touched(tmp_path: Path) -> None:
    outbox(tmp_path).close()
    with sqlite3.connect(tmp_path / "outbox-0001.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Misconfigured, match="version 99"):
        outbox(tmp_path)


def test_messages_are_heard_once(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    assert box.hear(4, "seen_by_care_team", b"x")
    assert not box.hear(4, "seen_by_care_team", b"x")
    assert box.hear(3, "seen_by_care_team", b"y")
    box.close()
    again = outbox(tmp_path)
    assert not again.hear(3, "seen_by_care_team", b"y")
    assert [s for s, _, _ in again.heard()] == [3, 4]


def test_two_agents_cannot_share_an_outbox(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    other = sqlite3.connect(tmp_path / "outbox-0001.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="only one agent"):
        box.append([plain("a")])
    other.execute("ROLLBACK")
    other.close()
    assert len(box.append([plain("a")])) == 1


def test_its_file_is_for_its_owner_only(tmp_path: Path) -> None:
    outbox(tmp_path).append([plain("a")])
    assert {p.stat().st_mode & 0o077 for p in tmp_path.iterdir()} == {0}
