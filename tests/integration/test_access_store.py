"""Accounts, consents and the record in a real database, through the store, the guard and the command line."""

import asyncio
import datetime as dt
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
import structlog
from sqlalchemy import text
from structlog.typing import EventDict

from cloud_bridge.access.engine import Engine
from cloud_bridge.access.guard import SAME_READ, Guard
from cloud_bridge.access.model import Account, Action, DataType, Role
from cloud_bridge.access.passwords import new_credentials
from cloud_bridge.audit_head import say_heads
from service_kit.key_files import write_private
from service_kit.log import Log, only_allowed
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.command_line import cloud_bridge
from tests.doubles.edge_hospital import eventually
from tests.doubles.edge_readings import bridge_keys
from wire_format.errors import Rejected, Unreachable

pytestmark = pytest.mark.usefixtures("each_engine")

PASSWORD = "a long enough password"  # noqa: S105 - an example
NURSE = Account("1", Role.NURSE, "ward-1")
"""The patients of the desk name "1" as nurse, physician and organization."""
ALL = frozenset(DataType)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def guard(desk: BridgeDesk) -> Guard:
    return Guard(Engine(), desk.store.access, lambda: desk.now)


def consent(desk: BridgeDesk, data: DataType = DataType.ALERTS, to: str = "nurse") -> None:
    desk.store.access.give_consent("patient-1", to, data, text_version="2026-1", by="p-1", now=desk.now)


def test_an_account_opens_with_both_words_once(desk: BridgeDesk) -> None:
    access, credentials = desk.store.access, new_credentials(PASSWORD)
    access.add_account(NURSE, credentials, desk.now)
    code = pyotp.TOTP(credentials.secret).at(desk.now)
    assert access.sign_in("1", PASSWORD, "000000", desk.now) is None
    assert access.sign_in("nobody", PASSWORD, code, desk.now) is None
    assert access.sign_in("1", PASSWORD, code, desk.now) == NURSE
    assert access.sign_in("1", PASSWORD, code, desk.now) is None
    access.set_active("1", active=False, now=desk.now)
    later = desk.now + dt.timedelta(minutes=1)
    assert access.sign_in("1", PASSWORD, pyotp.TOTP(credentials.secret).at(later), later) is None
    with pytest.raises(Rejected, match="already"):
        access.add_account(NURSE, credentials, desk.now)
    for call in (
        lambda: access.set_active("x", active=True, now=desk.now),
        lambda: access.set_credentials("x", credentials, desk.now),
    ):
        with pytest.raises(Rejected, match="no account x"):
            call()


def test_one_code_used_by_two_at_once_opens_one_door(desk: BridgeDesk) -> None:
    access, credentials = desk.store.access, new_credentials(PASSWORD)
    access.add_account(NURSE, credentials, desk.now)
    code = pyotp.TOTP(credentials.secret).at(desk.now)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(access.sign_in("1", PASSWORD, code, desk.now)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in found if one is not None] == [NURSE]


def test_consent_opens_and_its_withdrawal_closes_at_once(desk: BridgeDesk) -> None:
    desk.store.access.add_account(NURSE, new_credentials(PASSWORD), desk.now)
    one = guard(desk)
    assert not one.allows("1", Action.READ, "patient-1", DataType.ALERTS)
    consent(desk)
    assert one.allows("1", Action.READ, "patient-1", DataType.ALERTS)
    assert not one.allows("1", Action.READ, "patient-1", DataType.GLUCOSE)
    assert not one.allows("1", Action.READ, "patient-2", DataType.ALERTS)
    assert not one.allows("1", Action.READ, "patient-1", DataType.ALERTS, second_factor=False)
    gone = desk.store.access.withdraw_consent("patient-1", "nurse", DataType.ALERTS, by="p-1", now=desk.now)
    assert gone == 1
    assert not one.allows("1", Action.READ, "patient-1", DataType.ALERTS)
    assert (
        desk.store.access.withdraw_consent("patient-1", "nurse", DataType.ALERTS, by="x", now=desk.now) == 0
    )
    (kept,) = desk.store.access.consents("patient-1")
    assert (kept.text_version, kept.withdrawn_by, kept.holds(desk.now)) == ("2026-1", "p-1", False)


def test_a_consent_holds_for_its_time(desk: BridgeDesk) -> None:
    hour = dt.timedelta(hours=1)
    desk.store.access.give_consent(
        "patient-1",
        "organization:ward-1",
        DataType.ALERTS,
        text_version="1",
        by="p-1",
        now=desk.now,
        valid_from=desk.now + hour,
        valid_until=desk.now + 2 * hour,
    )
    moments = [desk.now + n * hour / 2 for n in range(5)]
    held = [desk.store.access.subject("patient-1", at).consented for at in moments]
    # Of many at once it is the same as of each.
    consent(desk, DataType.GLUCOSE)
    desk.store.access.withdraw_consent(
        "patient-1", "nurse", DataType.GLUCOSE, by="p-1", now=desk.now + hour / 3
    )
    consent(desk, DataType.BODY, to="organization:1")
    for at in (desk.now - hour, *moments):
        together = desk.store.access.subjects(["patient-2", "patient-1", "nobody"], at)
        assert together == {one: desk.store.access.subject(one, at) for one in together}
        assert len(together) == 3
    assert [bool(one) for one in held] == [False, False, True, True, False]


@pytest.mark.parametrize("to", ["", "everybody", "organization:", "organization: x", "Nurse"])
def test_nobody_else_can_be_consented_to(desk: BridgeDesk, to: str) -> None:
    with pytest.raises(Rejected, match="nobody to consent to"):
        consent(desk, to=to)
    with pytest.raises(Rejected, match="no patient"):
        desk.store.access.give_consent(
            "stranger", "nurse", DataType.ALERTS, text_version="1", by="x", now=desk.now
        )


def test_every_decision_is_on_record_and_an_edit_is_found(desk: BridgeDesk) -> None:
    access = desk.store.access
    access.add_account(NURSE, new_credentials(PASSWORD), desk.now)
    consent(desk)
    one = guard(desk)
    for _ in range(3):
        assert one.allows("1", Action.READ, "patient-1", DataType.ALERTS)
    assert not one.allows("1", Action.MANAGE_ACCOUNTS)
    assert not one.allows("nobody", Action.READ, "patient-1", DataType.ALERTS)
    assert one.allows("1", Action.BREAK_GLASS, "patient-2", reason="unconscious, brought in")
    desk.now += SAME_READ
    assert one.allows("1", Action.READ, "patient-1", DataType.ALERTS)
    said = [(e.action, e.patient, e.allowed) for e, _ in access.entries()]
    assert said == [
        (Action.MANAGE_ACCOUNTS, None, True),
        (Action.READ, "patient-1", True),
        (Action.MANAGE_ACCOUNTS, None, False),
        (Action.BREAK_GLASS, "patient-2", True),
        (Action.READ, "patient-1", True),
    ]
    assert [e.number for e, _ in access.entries("patient-1")] == [2, 5]
    *_, (_, head) = access.entries()
    assert access.broken_at(head) is None
    with desk.store.engine.begin() as connection:
        connection.execute(text("UPDATE audit SET allowed = true WHERE number = 3"))
    assert access.broken_at() == 3
    with desk.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE number > 1"))
    assert access.broken_at() is None
    assert access.broken_at(head) == 2


def test_two_writers_make_one_chain(desk: BridgeDesk) -> None:
    desk.store.access.add_account(NURSE, new_credentials(PASSWORD), desk.now)
    made = len(list(desk.store.access.entries()))
    threads = [threading.Thread(target=lambda: guard(desk).allows("1", Action.READ_AUDIT)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.store.access.broken_at() is None
    assert len(list(desk.store.access.entries())) == made + 8


async def test_the_head_of_the_record_is_said_in_the_log(desk: BridgeDesk) -> None:
    said: list[dict[str, object]] = []

    def keep(_logger: object, _method: str, event: EventDict) -> EventDict:
        said.append(dict(event))
        raise structlog.DropEvent

    log: Log = structlog.wrap_logger(
        None, processors=[only_allowed, keep], wrapper_class=structlog.make_filtering_bound_logger(20)
    )
    desk.store.access.add_account(NURSE, new_credentials(PASSWORD), desk.now)
    failing = iter([Unreachable("the disk is full")])

    def head() -> tuple[int, bytes]:
        if len(said) == 1:
            for error in failing:
                raise error
        return desk.store.access.head()

    saying = asyncio.create_task(say_heads(head, log, 0.01))
    await eventually(lambda: len(said) >= 3)
    assert guard(desk).allows("1", Action.RETRY_DELIVERY)
    await eventually(lambda: said[-1].get("count") == 2)
    saying.cancel()
    await asyncio.wait([saying])
    await asyncio.get_running_loop().shutdown_default_executor()  # it may still ask, in another thread
    (_, made), (_, digest) = desk.store.access.entries()
    assert said[0] == {"event": "audit_head", "count": 1, "digest": made.hex()}
    assert said[1] == {"event": "audit_head_unknown", "error": "Unreachable"}
    assert said[-1] == {"event": "audit_head", "count": 2, "digest": digest.hex()}


def command(folder: Path, *words: str) -> tuple[int, str, str]:
    done = cloud_bridge(*words, "--config", str(folder / "bridge.toml"))
    return done.returncode, done.stdout.strip(), done.stderr


def unattended(folder: Path, *words: str) -> int:
    """As `command`, in a process of its own, which has no terminal to ask at."""
    argv = [sys.executable, "-m", "cloud_bridge.cli", *words, "--config", str(folder / "bridge.toml")]
    return subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("each_engine", ["sqlite"], indirect=True)
def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    write_private(tmp_path / "bridge.key", bridge_keys())
    (tmp_path / "bridge.toml").write_text(
        f'site = "ward"\nstate = "{tmp_path}/state"\n[keys]\nbridge = "{tmp_path}/bridge.key"\n'
        '[broker]\nhost = "127.0.0.1"\nport = 1\n'
    )
    (tmp_path / "password").write_text(PASSWORD + "\n")
    words = ("account", "add", "n1", "--role", "nurse", "--organization", "ward-1")
    assert unattended(tmp_path, *words) == 2  # nobody to ask for the password
    status, out, _ = command(tmp_path, *words, "--password-file", str(tmp_path / "password"))
    assert status == 0
    assert json.loads(out)["authenticator"].startswith("otpauth://totp/")
    assert PASSWORD not in out
    _, out, _ = command(tmp_path, "account", "list")
    assert json.loads(out) == [
        {
            "name": "n1",
            "role": "nurse",
            "organization": "ward-1",
            "active": True,
            "patients": [],
            "bound": [],
        }
    ]
    assert command(tmp_path, "account", "disable", "n1")[0] == 0
    assert command(tmp_path, "account", "reset", "n1", "--password-file", str(tmp_path / "password"))[0] == 0
    status, _, said = command(tmp_path, "account", "enable", "n2")
    assert status == 1
    assert "no account n2" in said
    status, _, said = command(
        tmp_path, "consent", "give", "p-9", "nurse", "alerts", "--text-version", "1", "--by", "p-9"
    )
    assert status == 1
    assert "enrol the home first" in said
    assert json.loads(command(tmp_path, "consent", "list", "p-9")[1]) == []
    assert json.loads(command(tmp_path, "audit", "verify")[1]) == {"whole": True, "broken_at": None}
    assert command(tmp_path, "audit", "verify", "--head", "00ff")[0] == 1
    assert command(tmp_path, "audit", "verify", "--head", "zz")[0] == 2
    assert command(tmp_path, "audit", "show", "--action", "break_glass")[1] == ""
    assert command(tmp_path, "audit", "show", "--action", "fly")[0] == 2
    status, _, said = command(tmp_path, "link")
    assert (status, "serves no page" in said) == (2, True)
    with (tmp_path / "bridge.toml").open("a") as file:
        file.write('[page]\nport = 0\nsign_in = "accounts"\n')
    status, _, said = command(tmp_path, "link")
    assert (status, "links open nothing" in said) == (2, True)
    managed = [json.loads(line) for line in command(tmp_path, "audit", "show")[1].splitlines()]
    assert [(one["action"], one["account"], one["reason"]) for one in managed] == [
        ("manage_accounts", "n1", "added as nurse of ward-1, by anna"),
        ("manage_accounts", "n1", "switched off, by anna"),
        ("manage_accounts", "n1", "new password and second factor, by anna"),
    ]
