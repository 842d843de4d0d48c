"""`edge-agent pair`, `devices` and `forget`: what an installer does at a terminal. The agent does the work.

Every question has an option, so that a script can pair too: with `--yes` nothing is asked, and what is
missing is an error.
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_agent import config as configuration
from edge_agent.control_line import ControlLine, Message
from edge_agent.device_list import list_devices
from edge_agent.pairing import ConsentNeeded, Devices
from edge_agent.passkeys import parse_passkey
from edge_agent.words import Language, say
from wire_format.errors import Misconfigured, Unreachable

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]
LanguageOption = Annotated[Language | None, typer.Option(help="What is said at the terminal.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; what is missing is an error.")]

MAX_SLOT: Final = 255
_COLUMNS: Final = ("address", "who", "model", "profile", "bonded", "last heard", "last visit")


class Terminal:
    """Asks the person at the terminal, in their language; asks nothing if told so."""

    def __init__(self, language: Language | None, *, silent: bool) -> None:
        self.language = language or Language.of_environment(os.environ.get("LANG", ""))
        self.silent = silent

    def say(self, key: str, **facts: object) -> None:
        """Say a sentence, on standard error: standard output is for results."""
        typer.echo(say(key, self.language, **facts), err=True)

    def ask(self, key: str, option: str, **facts: object) -> str:
        """Ask, and return what was typed. Raises `Misconfigured` where nobody may be asked."""
        if self.silent:
            raise Misconfigured(f"{option} is missing, and --yes says that nobody is asked.")
        typer.echo(f"{say(key, self.language, **facts)}: ", err=True, nl=False)
        # Nothing else is to be done meanwhile; what the agent says then waits in the socket.
        line = sys.stdin.readline()
        if not line:
            raise Misconfigured(f"Nobody answers at the terminal: give {option}.")
        return line.strip()

    def agrees(self, key: str, option: str, **facts: object) -> bool:
        """Ask a question of yes or no."""
        return self.ask(key, option, **facts).lower() in {"y", "yes", "是"}


def pair(  # noqa: PLR0913, PLR0917 - the command's options
    config: ConfigPath = configuration.DEFAULT_PATH,
    address: Annotated[str | None, typer.Option(help="Its Bluetooth address; else you choose.")] = None,
    person: Annotated[str | None, typer.Option(help="Whose it is: the hospital's pseudonym.")] = None,
    slot: Annotated[
        int | None, typer.Option(help="Only this user slot of the device.", min=0, max=255)
    ] = None,
    since: Annotated[str | None, typer.Option(help="Since when it is theirs, in ISO 8601; else now.")] = None,
    passkey: Annotated[str | None, typer.Option(help="The six digits; else you are asked.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to listen.", min=0, max=600)] = 30,
    replace_bond: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--replace-bond", help="Exchange new keys although there is an old bond.")
    ] = False,
    language: LanguageOption = None,
    yes: Yes = False,  # noqa: FBT002 - an option
    as_json: AsJson = False,  # noqa: FBT002 - an option
) -> None:
    """Make a device this home's own: choose it, say whose it is, exchange keys."""
    state = configuration.load(config).state
    terminal = Terminal(language, silent=yes)
    wish: Message = {"slot": slot, "since": since, "replace_bond": replace_bond}
    wish |= {"address": address, "person": person}
    paired = _run(_pair(state, terminal, wish, passkey, seconds))
    if as_json:
        typer.echo(json.dumps(paired, ensure_ascii=False))
    terminal.say("paired", model=paired["model"], person=paired["users"][-1]["person"])


def devices(
    config: ConfigPath = configuration.DEFAULT_PATH,
    language: LanguageOption = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option
) -> None:
    """List this home's devices: whose, of which kind, bonded or not, heard and visited when."""
    loaded = configuration.load(config)
    try:
        found = _run(_asked(loaded.state, "devices"))["devices"]
    except Unreachable as error:
        typer.echo(f"edge-agent: {error} What is shown is the file of devices.", err=True)
        known = Devices.open(loaded.state / "devices.json", loaded.device, loaded.adopt)
        found = json.loads(json.dumps(list_devices(known), default=str))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    elif found:
        typer.echo(_table([_COLUMNS, *map(_row, found)]))
        for device in found:
            if device["unread"]:
                typer.echo(f"{device['address']}: {device['unread']}")
    else:
        Terminal(language, silent=True).say("no_devices")


def forget(
    address: Annotated[str, typer.Argument(help="The device's Bluetooth address.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
    language: LanguageOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Consent without being asked.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Take a device off the list and remove its bond. What it measured stays."""
    state = configuration.load(config).state
    terminal = Terminal(language, silent=False)
    if not yes and not terminal.agrees("forget", "--yes", address=address):
        terminal.say("nothing_done")
        raise typer.Exit(1)
    gone = _run(_asked(state, "forget", address=address))["forgotten"]
    terminal.say("forgotten", address=gone)


async def _pair(
    state: Path, terminal: Terminal, wish: Message, passkey: str | None, seconds: float
) -> Message:
    wish["address"] = await _choose(state, terminal, wish["address"], seconds)
    if wish["person"] is None:
        wish["person"] = terminal.ask("who", "--person")
        slot = "" if wish["slot"] is not None else terminal.ask("slot", "--slot")
        wish["slot"] = _slot(slot) if slot else wish["slot"]
    try:
        return await _paired(state, terminal, wish, passkey)
    except ConsentNeeded:
        if terminal.silent or not terminal.agrees("consent", "--replace-bond"):
            raise
    return await _paired(state, terminal, wish | {"replace_bond": True}, passkey)


def _slot(typed: str) -> int:
    if not typed.isdecimal() or int(typed) > MAX_SLOT:
        raise Misconfigured(f"{typed!r} is no user slot: give a number from 0 to {MAX_SLOT}.")
    return int(typed)


async def _choose(state: Path, terminal: Terminal, address: str | None, seconds: float) -> str:
    """Return the address of the chosen device, once it is heard; without one given, let choose."""
    terminal.say("listening", seconds=f"{seconds:g}")
    if address is not None:
        await _heard(state, seconds, address.upper())
        return address
    await asyncio.sleep(0 if terminal.silent else seconds)
    found = await _heard(state, seconds if terminal.silent else 0, None)
    if not found:
        raise Unreachable(say("nothing_heard", terminal.language))
    for number, offer in enumerate(found, start=1):
        words = say(offer["distance"], terminal.language)
        ours = " *" if offer["ours"] else ""
        name = offer["name"] or "-"
        typer.echo(f"{number}. {offer['title']}  {name}  {offer['address']}  {words}{ours}", err=True)
        if offer["off"]:
            typer.echo(f"   {offer['off']}", err=True)
    answer = terminal.ask("which", "--address")
    if not answer.isdecimal() or not 1 <= int(answer) <= len(found):
        raise Misconfigured(f"{answer!r} is none of the numbers 1 to {len(found)}: nothing was paired.")
    return str(found[int(answer) - 1]["address"])


async def _heard(state: Path, seconds: float, address: str | None) -> list[Message]:
    """Return what is heard; wait for one device, or for any, as long as allowed."""
    for _ in range(max(1, int(seconds * 2))):
        found: list[Message] = (await _asked(state, "nearby"))["nearby"]
        if any(address in {None, offer["address"]} for offer in found):
            return found
        await asyncio.sleep(0.5 if seconds else 0)
    return []


async def _paired(state: Path, terminal: Terminal, wish: Message, passkey: str | None) -> Message:
    line = await ControlLine.connect(state)
    try:
        async for message in line.ask("pair", **wish):
            if "paired" in message:
                paired: Message = message["paired"]
                return paired
            await _answer(line, terminal, message, passkey)
    finally:
        line.close()
    raise Unreachable("The agent said nothing.")


async def _answer(line: ControlLine, terminal: Terminal, question: Message, passkey: str | None) -> None:
    match question["ask"]:
        case "passkey":
            typed = passkey if passkey is not None else terminal.ask("passkey", "--passkey")
            await line.send({"passkey": f"{parse_passkey(typed):06}"})
        case "same":
            agreed = terminal.agrees("same", "a person", digits=question["digits"])
            await line.send({"same": agreed})
        case "show":
            terminal.say("show", digits=question["digits"])


async def _asked(state: Path, do: str, **fields: object) -> Message:
    line = await ControlLine.connect(state)
    try:
        async for message in line.ask(do, **fields):
            return message
    finally:
        line.close()
    raise Unreachable("The agent said nothing.")


def radio_facts(state: Path) -> Message | None:
    """Return what a running agent says of its radio; None if none runs."""
    with suppress(Unreachable):
        found: Message = _run(_asked(state, "radio"))["radio"]
        return found
    return None


def _run(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    return asyncio.run(work)


def _row(device: Message) -> tuple[str, ...]:
    users = ", ".join(
        u["person"] + ("" if u["slot"] is None else f" (slot {u['slot']})")
        for u in device["users"]
        if u["until"] is None
    )
    bond = "lost" if device["bond_lost"] else "yes" if device["bonded"] else "no"
    heard = device["last_heard_s_ago"]
    return (
        device["address"],
        users or "-",
        " ".join(filter(None, (device["maker"], device["model"]))) or "-",
        device["profile"] or "-",
        bond,
        "-" if heard is None else f"{heard} s ago",
        (device["last_visit"] or "-")[:19],
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
