"""An agent that is given bundles of profiles: it uses the good one, refuses the bad one, and says both."""

import asyncio
import datetime as dt
from pathlib import Path

from device_drivers.bundle import files_of, make_bundle
from service_kit.key_files import write_public
from tests.doubles.edge_hospital import eventually
from tests.integration.test_edge_agent import Street, severe, street
from wire_format.keys import PublisherKeys
from wire_format.statements import GatewayEvent, GatewayEventKind

CUFF = "standard/blood_pressure"


def told(street: Street, kind: GatewayEventKind) -> list[str | None]:
    return [i.detail for i in street.hospital.items() if isinstance(i, GatewayEvent) and i.kind is kind]


def said(street: Street, event: str) -> list[dict[str, str]]:
    return [line for line in street.log() if line["event"] == event]


async def test_a_bundle_is_used_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    keys, at = PublisherKeys.generate(), dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    comment = {f"{CUFF}.toml": files_of()[f"{CUFF}.toml"] + b"# corrected\n"}
    # In a thread: it tries the captures, which has an event loop of its own.
    bundle = await asyncio.to_thread(make_bundle, files_of() | comment, 1_000_000, at, keys.profiles)
    incoming = tmp_path / "state" / "profiles" / "incoming.bundle"
    async with street(tmp_path) as one:
        await severe(one, 181)
        await eventually(lambda: len(one.measurements()) == 1)
        await one.agent.stop()
        write_public(tmp_path / "publisher.pub", keys.public)
        config = tmp_path / "agent.toml"
        key = f'[profiles]\nkey = "{tmp_path}/publisher.pub"\n'
        config.write_text(config.read_text().replace("[profiles]\n", key))
        incoming.parent.mkdir()
        incoming.write_bytes(bundle)
        await one.agent.start()
        await eventually(lambda: bool(told(one, GatewayEventKind.PROFILES_CHANGED)))
        await severe(one, 182)
        await eventually(lambda: len(one.measurements()) == 2)
        before, after = (m.provenance.profile_hash for m in one.measurements())
        assert before != after
        assert said(one, "profiles_changed")[0]["version"] == 1_000_000
        await one.agent.stop()
        incoming.write_bytes(bundle[:-1])
        await one.agent.start()
        await eventually(lambda: bool(told(one, GatewayEventKind.PROFILES_REFUSED)))
        (reason,) = told(one, GatewayEventKind.PROFILES_REFUSED)
        assert reason is not None
        assert reason.startswith("incoming.bundle: ")
        assert said(one, "profiles_refused")[0]["reason"] == reason
        await severe(one, 183)
        await eventually(lambda: len(one.measurements()) == 3)
        assert one.measurements()[2].provenance.profile_hash == after
