"""The control socket: what is asked wrongly is answered, and nothing takes the agent down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from device_drivers.link import Sighting, uuid16
from edge_agent.bluez_host import BluezHost
from edge_agent.control import Control, RadioHealth
from edge_agent.control_line import CONTROL, ControlLine
from edge_agent.device_list import list_devices
from edge_agent.home import Home
from edge_agent.nearby import Nearby
from edge_agent.pairing import Devices
from edge_agent.pairing_desk import PairingDesk
from edge_agent.scanner import Scanner
from edge_agent.visit import Visitor
from edge_agent.words import Language, say
from service_kit.log import silent
from tests.doubles.edge_home import ADDRESS, make_home, named
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from wire_format.errors import Misconfigured, Rejected, Unreachable

CUFF = Sighting(ADDRESS, "BP-1", frozenset({uuid16(0x1810)}), rssi=-60)


class Asking(ScriptedLink):
    """A device whose pairing asks the person about digits."""

    async def bond(self) -> None:
        source = self.terms.source
        await source.show(12345)
        if not await source.same(12345) or await source.passkey() != 12345:
            raise Rejected("the digits are wrong")
        await super().bond()


class AskingRadio(ScriptedRadio):
    def open(self, handle: object, approach: object) -> object:
        def device() -> ScriptedLink:
            made = Asking(packets=[("2A35", b"")])
            made.terms = approach.terms  # type: ignore[attr-defined]  # an Approach
            return made

        self.device = device
        return super().open(handle, approach)  # type: ignore[arg-type]  # as above


@asynccontextmanager
async def control(folder: Path, radio: ScriptedRadio) -> AsyncIterator[tuple[Home, Nearby]]:
    home = make_home(folder, owners=(named(address="C0:49:5F:00:00:07"),), adopt=False)
    scanner, nearby = Scanner(None, silent()), Nearby()
    host = BluezHost.on_system_bus(silent())
    visitor = Visitor(home, radio, asyncio.ensure_future)
    desk = PairingDesk(home, radio, visitor, nearby)
    served = Control(desk, RadioHealth(scanner, visitor, host.health), silent())
    serving = asyncio.create_task(served.serve(folder / CONTROL))
    await asyncio.sleep(0.05)
    try:
        yield home, nearby
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def asked(folder: Path, do: str, **fields: object) -> list[dict[str, object]]:
    line = await ControlLine.connect(folder)
    try:
        return [message async for message in line.ask(do, **fields)]
    finally:
        line.close()


async def test_only_its_owner_may_open_the_socket(tmp_path: Path) -> None:
    async with control(tmp_path, ScriptedRadio(ScriptedLink)):
        assert (tmp_path / CONTROL).stat().st_mode & 0o077 == 0
        (answer,) = await asked(tmp_path, "radio")
        radio = answer["radio"]
        assert isinstance(radio, dict)
        assert (radio["state"], radio["open_links"]) == ("listening", 0)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"do": "dance"}, Misconfigured, "does not know how to"),
        ({"do": "pair", "address": ADDRESS}, Misconfigured, "does not know how to"),
        ({"do": "pair", "address": "cuff", "person": "p-1"}, Misconfigured, "written like"),
        (
            {"do": "pair", "address": ADDRESS, "person": "p-1", "slot": "two"},
            Misconfigured,
            "cannot be asked",
        ),
        (
            {"do": "pair", "address": ADDRESS, "person": "p-1", "since": "now"},
            Misconfigured,
            "cannot be asked",
        ),
        ({"do": "pair", "address": ADDRESS, "person": "p-1"}, Unreachable, "is not heard now"),
        ({"do": "forget", "address": ADDRESS}, Misconfigured, "is not paired here"),
        ({"do": "forget", "address": "C0:49:5F:00:00:07"}, Misconfigured, "take out its"),
    ],
)
async def test_what_is_asked_wrongly_is_answered(
    tmp_path: Path, fields: dict[str, str], error: type[Exception], words: str
) -> None:
    async with control(tmp_path, ScriptedRadio(ScriptedLink)):
        with pytest.raises(error, match=words):
            await asked(tmp_path, **fields)


@pytest.mark.parametrize("line", [b"no JSON\n", b"[]\n", b""])
async def test_what_is_no_question_is_answered(tmp_path: Path, line: bytes) -> None:
    async with control(tmp_path, ScriptedRadio(ScriptedLink)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / CONTROL)
        writer.write(line)
        writer.write_eof()
        assert "did not send a JSON object" in json.loads(await reader.readline())["error"]
        writer.close()


async def test_a_device_that_breaks_the_rules_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    def strange() -> ScriptedLink:
        raise ZeroDivisionError("strange")

    async with control(tmp_path, ScriptedRadio(strange)) as (_, nearby):
        nearby.heard(CUFF, object())
        with pytest.raises(Unreachable, match="It failed unexpectedly: ZeroDivisionError"):
            await asked(tmp_path, "pair", address=ADDRESS, person="p-1")
        (answer,) = await asked(tmp_path, "nearby")
        assert [o["distance"] for o in answer["nearby"]] == ["near"]  # type: ignore[attr-defined]  # a list


async def test_questions_are_asked_back_and_answered(tmp_path: Path) -> None:
    async with control(tmp_path, AskingRadio(ScriptedLink)) as (home, nearby):
        nearby.heard(CUFF, object())
        for same, digits, good in ((False, "012345", False), (True, "999999", False), (True, "012345", True)):
            line, questions = await ControlLine.connect(tmp_path), []
            try:
                async for message in line.ask("pair", address=ADDRESS, person="p-1"):
                    questions.append((message.get("ask"), message.get("digits")))
                    if message.get("ask") in {"same", "passkey"}:
                        await line.send({"same": same, "passkey": digits})
            except Rejected:
                assert not good
            assert questions[:2] == [("show", "012345"), ("same", "012345")]
            assert home.devices.is_ours(ADDRESS) == good
            line.close()


async def test_a_terminal_that_hangs_up_ends_its_pairing_only(tmp_path: Path) -> None:
    async with control(tmp_path, AskingRadio(ScriptedLink)) as (home, nearby):
        nearby.heard(CUFF, object())
        line = await ControlLine.connect(tmp_path)
        async for message in line.ask("pair", address=ADDRESS, person="p-1"):
            if message.get("ask") == "same":
                break
        line.close()
        await asyncio.sleep(0.05)
        assert not home.devices.is_ours(ADDRESS)
        assert len(await asked(tmp_path, "devices")) == 1


async def test_an_agent_that_hangs_up_and_one_that_cannot_serve(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tmp_path / CONTROL):
        with pytest.raises(Unreachable, match="The agent hung up"):
            await asked(tmp_path, "radio")
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    async with control(deep, ScriptedRadio(ScriptedLink)):  # its path is too long for a socket
        with pytest.raises(Unreachable, match="No agent answers"):
            await asked(deep, "radio")


async def test_the_list_of_devices_knows_those_that_were_never_met(tmp_path: Path) -> None:
    devices = Devices.open(tmp_path / "devices.json", (named(),), None)
    (facts,) = list_devices(devices)
    assert (facts["model"], facts["bonded"], facts["last_visit"]) == (None, False, None)
    assert facts["users"][0]["person"] == "p-1"


@pytest.mark.parametrize(
    ("lang", "language"), [("zh_CN.UTF-8", Language.ZH), ("en_GB", Language.EN), ("C", Language.EN)]
)
def test_the_language_of_the_terminal(lang: str, language: Language) -> None:
    assert Language.of_environment(lang) is language
    assert say("forgotten", language, address=ADDRESS).count(ADDRESS) == 1
