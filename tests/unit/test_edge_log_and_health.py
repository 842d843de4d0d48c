"""Log lines say only what may be said, and systemd is told what is true."""

import asyncio
import json
import logging
import socket
from pathlib import Path

import pytest

from service_kit.log import Libraries, configure, silent
from service_kit.notify import Notifier


def test_a_key_that_is_not_allowed_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure().info("visit_failed", profile="standard/glucose", systolic=192, name="Li", address="C0:FF")
    line = json.loads(capsys.readouterr().out)
    assert line.pop("timestamp")
    assert line == {
        "event": "visit_failed",
        "level": "info",
        "profile": "standard/glucose",
        "dropped_keys": 3,
    }


def test_a_library_that_warns_is_named_and_its_words_are_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("bleak.test")
    handler = Libraries(configure())
    library.addHandler(handler)
    try:
        library.warning("Failed to cancel connection (%s)", "/org/bluez/hci0/dev_C0_49_5F_00_00_01")
        library.info("nothing to say")
    finally:
        library.removeHandler(handler)
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["event"], said["kind"]) == ("library_warned", "bleak.test")
    assert said["reason"].startswith("test_edge_log_and_health.py:")
    assert "dropped_keys" not in said


def test_a_silent_log_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent().error("anything")
    assert capsys.readouterr().out == ""


async def test_the_watchdog_is_fed_only_while_the_work_is_done(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)  # noqa: FBT003 - the socket's own interface
        notifier = Notifier(str(tmp_path / "notify"), watchdog_s=0.03)
        works = True
        task = asyncio.create_task(notifier.feed(lambda: works))
        loop = asyncio.get_running_loop()
        for _ in range(3):
            assert await loop.sock_recv(listener, 100) == b"WATCHDOG=1"
        works = False
        await asyncio.sleep(0.05)
        while True:
            try:
                listener.recv(100)
            except BlockingIOError:
                break
        await asyncio.sleep(0.05)
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        task.cancel()


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier.from_environment()
    assert notifier == Notifier(None, None)
    notifier.send("READY=1")
    monkeypatch.delenv("WATCHDOG_PID")
    assert Notifier.from_environment().watchdog_s == 60
    Notifier("/nowhere/at/all", None).send("READY=1")
