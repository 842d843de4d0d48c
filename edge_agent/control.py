"""The control socket of a running agent: `edge-agent pair`, `devices`, `forget` and `status` speak to it.

Lines of JSON on a UNIX socket in the state folder, which nobody but root and the agent can open. One
connection asks one thing: {"do": "pair", …}. While a device is paired the agent asks {"ask": "passkey"}, and
is answered {"passkey": "012345"}; every other line is the answer, {"error": …, "kind": …} if it failed.
"""

import asyncio
import datetime as dt
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import parse_address
from edge_agent.control_line import MAX_LINE, Message, read_object
from edge_agent.device_list import device_facts, list_devices
from edge_agent.pairing_desk import Offer, Order, PairingDesk
from edge_agent.passkeys import parse_passkey
from edge_agent.scanner import Scanner
from edge_agent.visit import Visitor
from service_kit.log import Log, scene
from wire_format.errors import KitelineError, Misconfigured


@dataclass(frozen=True, slots=True)
class RadioHealth:
    """What `edge-agent status` shows of the radio."""

    scanner: Scanner
    visitor: Visitor
    adapter: Callable[[], Message]

    def facts(self) -> Message:
        """Return it as JSON takes it."""
        failing = self.scanner.failure
        return {
            "state": "listening" if failing is None else "failing",
            "error": failing,
            "heard_s_ago": round(time.monotonic() - self.scanner.heard_at),
            "open_links": self.visitor.links,
            "visits_refused_for_bonds": self.visitor.bonds.refused,
        } | self.adapter()


@dataclass(slots=True)
class _Line:
    """One connection, as a `PasskeySource`: the person sits at its other end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, message: Message) -> None:
        self.writer.write(json.dumps(message, ensure_ascii=False, default=str).encode() + b"\n")
        await self.writer.drain()

    async def ask(self, message: Message) -> Message:
        await self.say(message)
        return read_object(await self.reader.readline())

    async def passkey(self) -> int | None:
        answer = await self.ask({"ask": "passkey"})
        return parse_passkey(str(answer["passkey"])) if answer.get("passkey") is not None else None

    async def same(self, shown: int) -> bool:
        answer = await self.ask({"ask": "same", "digits": f"{shown:06}"})
        return answer.get("same") is True

    async def show(self, passkey: int) -> None:
        await self.say({"ask": "show", "digits": f"{passkey:06}"})


@dataclass(frozen=True, slots=True)
class Control:
    """Answers what is asked over the socket."""

    desk: PairingDesk
    health: RadioHealth
    log: Log

    async def serve(self, path: Path) -> None:
        """Serve until cancelled. An agent that cannot still measures: it is said, and it goes on."""
        try:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call, before anything runs
            server = await asyncio.start_unix_server(self._serve, path, limit=MAX_LINE)
            path.chmod(0o600)  # noqa: ASYNC240 - as above
        except OSError as error:
            self.log.warning("control_unavailable", error=type(error).__name__)
            return
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(reader, writer)
        try:
            await line.say(await self._answered(line))
        except OSError:
            return  # whoever asked is gone
        finally:
            writer.close()

    async def _answered(self, line: _Line) -> Message:
        try:
            return await self.carry_out(read_object(await line.reader.readline()), line)
        except KitelineError as error:
            return {"error": str(error), "kind": type(error).__name__}
        except (ValueError, TypeError) as error:
            return {"error": f"That cannot be asked: {error}.", "kind": "Misconfigured"}
        except Exception as error:  # noqa: BLE001 - a strange device must not take the agent down
            self.log.error("control_failed", error=scene(error))  # noqa: TRY400 - no traceback: it may quote
            return {"error": f"It failed unexpectedly: {scene(error)}.", "kind": "Unreachable"}

    async def carry_out(self, asked: Message, line: _Line) -> Message:
        """Carry out one command and return its answer."""
        match asked:
            case {"do": "nearby"}:
                return {"nearby": [_offer(offer) for offer in self.desk.offers()]}
            case {"do": "pair", "address": str(address), "person": str(person), **rest}:
                device = await self.desk.pair(_order(address, person, rest), line)
                return {"paired": self._live(device_facts(self.desk.home.devices, device.address))}
            case {"do": "devices"}:
                return {"devices": [self._live(facts) for facts in list_devices(self.desk.home.devices)]}
            case {"do": "forget", "address": str(address)}:
                await self.desk.forget(parse_address(address))
                return {"forgotten": parse_address(address)}
            case {"do": "radio"}:
                return {"radio": self.health.facts()}
            case _:
                raise Misconfigured(f"The agent does not know how to {asked.get('do')!r}.")

    def _live(self, facts: Message) -> Message:
        """Add what only a running agent knows."""
        visitor = self.health.visitor
        facts |= {"unread": visitor.unread.get(facts["address"])}
        place = visitor.turns.places.get(facts["address"])
        if place is None:
            return facts
        heard = None if place.last_heard == float("-inf") else round(time.monotonic() - place.last_heard)
        return facts | {"last_heard_s_ago": heard, "last_visit": place.last_visit or facts["last_visit"]}


def _offer(offer: Offer) -> Message:
    heard = offer.heard
    return {
        "address": heard.sighting.address,
        "name": heard.sighting.name,
        "title": offer.profile.title,
        "profile": offer.profile.name,
        "distance": heard.distance,
        "rssi": None if heard.rssi is None else round(heard.rssi),
        "ours": offer.ours,
        "bonded": offer.bonded,
        "passkey": offer.profile.link.passkey,
        "off": offer.off,
    }


def _order(address: str, person: str, rest: Message) -> Order:
    since = rest.get("since")
    return Order(
        parse_address(address),
        person,
        None if rest.get("slot") is None else int(rest["slot"]),
        None if since is None else dt.datetime.fromisoformat(since),
        rest.get("replace_bond") is True,
    )
