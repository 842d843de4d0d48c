"""The devices of the scenarios, each with a person of its own, and the gateway's configuration for them."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from device_drivers.profile import load_profiles
from service_kit.key_files import write_private, write_public
from virtual_home.scenario import DeviceEntry, Scenario
from wire_format.keys import BridgeKeys, GatewayKeys

SITE, GATEWAY = "ward", "gw-1"
MANY = tuple(f"many-{n:02}" for n in range(1, 21))
PASSKEY = 314159
PASSKEY_PROFILE = "tests/passkey_cuff"
NEIGHBOUR = "neighbour"
PAIRED_BY_HAND = {"shows", "asks", "mistyped"}
"""A device with a passkey is not named by the configuration: an installer pairs it."""

CONFIG = """\
site = "{site}"
gateway = "{gateway}"
state = "/run/kiteline/state"

[keys]
gateway = "{folder}/gateway.key"
hospital = "{folder}/hospital.pub"

[broker]
host = "127.0.0.1"
port = 1883
longest_pause_s = 30

[clock]
vouched_uncertainty_ms = 50
zone_offset_minutes = 480

[visits]
connect_s = 15
rest_s = 0.5
longest_rest_s = 2

[profiles]
enable = {enable}
"""

DEVICE = """
[[device]]
address = "{address}"
person = "{person}"
since = {since}
"""


def entry(number: int, key: str, kind: str = "cuff", **changes: Any) -> DeviceEntry:
    """Return an invented device."""
    return DeviceEntry.model_validate(
        {
            "key": key,
            "kind": kind,
            "address": f"C0:49:5F:00:02:{number:02X}",
            "name": f"D-{number}",
            "maker": "Example",
            "model": f"{kind}-1",
            "serial": f"S-{number:04}",
            "person": f"p-{key}",
            "advertises_s": 120.0,
            # The virtual controller filters no duplicates: twenty devices at 20 ms would fill the UART, and
            # the kernel would wait in vain for answers behind all that.
            "advertises_every_ms": 100,
            **changes,
        }
    )


def devices() -> tuple[DeviceEntry, ...]:
    """Return all devices; each scenario uses its own."""
    twins = {"name": "BP-1", "model": "BP-1"}
    return (
        entry(1, "plain"),
        entry(2, "shows", name="PK-1", pairing="passkey_display", passkey=PASSKEY),
        entry(3, "asks", name="PK-2", pairing="passkey_entry"),
        entry(4, "mistyped", name="PK-3", pairing="passkey_display", passkey=PASSKEY),
        entry(5, "unasked"),
        entry(6, "forgetful"),
        entry(7, "forgotten"),
        entry(8, "records", "glucose_meter", memory=200),
        entry(9, "cut", keeps=False),
        entry(10, "ours", **twins),
        entry(11, NEIGHBOUR, **twins),
        entry(12, "restarted"),
        entry(13, "late-clock", clock_offset_s=-7200),
        entry(14, "burst"),
        entry(15, "meals", "glucose_meter"),
        entry(16, "powerless"),
        entry(17, "deaf"),
        entry(18, "drops"),
        entry(19, "scale", "scale"),
        entry(20, "thermometer", "thermometer"),
        entry(21, "oximeter", "oximeter"),
        entry(22, "twice"),
        entry(23, "confirmed", keeps=False),
        entry(24, "killed", keeps=True),
        entry(25, "forgets-at-once", keeps=False),
        entry(26, "newcomer"),
        *(entry(100 + number, key) for number, key in enumerate(MANY)),
    )


def prepare(folder: Path) -> tuple[Scenario, GatewayKeys, BridgeKeys]:
    """Write everything that devices and gateway need into `folder`."""
    home = Scenario(title="Radio tests", seed=1, devices=devices())
    (folder / "home.json").write_text(home.model_dump_json())
    gateway, bridge = GatewayKeys.generate(), BridgeKeys.generate()
    write_private(folder / "gateway.key", gateway)
    write_public(folder / "hospital.pub", bridge.public)
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).isoformat()
    specified = [profile.name for profile in load_profiles().values() if not profile.on_by_default]
    enable = json.dumps([*specified, PASSKEY_PROFILE])
    text = CONFIG.format(site=SITE, gateway=GATEWAY, folder=folder, enable=enable)
    for device in home.devices:
        if device.key not in {NEIGHBOUR, *PAIRED_BY_HAND}:
            text += DEVICE.format(address=device.address, person=device.person, since=since)
    (folder / "agent.toml").write_text(text)
    return home, gateway, bridge
