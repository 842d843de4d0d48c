"""A `Home` in a folder, with known keys and a known time, and what it has sealed so far."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from device_drivers.catalogue import Catalogue
from device_drivers.profile import DeviceProfile
from edge_agent.clock import GatewayClock, vouched
from edge_agent.config import Adoption, DeviceSection, Visits
from edge_agent.home import Home
from edge_agent.outbox import Limits, Outbox
from edge_agent.pairing import Devices
from edge_agent.sink import GatewayVoice, Sealer
from edge_agent.steps import nobody
from service_kit.log import silent
from tests.doubles.edge_readings import BOOT, NOON, bridge_keys, gateway_keys
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed

ADDRESS = "C0:49:5F:00:00:01"
PRESSURE = bytes.fromhex("1e7c0050005f00ea070b180c0000460001000000")

Change = Callable[[DeviceProfile], DeviceProfile]


def named(person: str = "p-1", address: str = ADDRESS) -> DeviceSection:
    """A device that the configuration names."""
    return DeviceSection(address=address, person=person, since=NOON.replace(year=2025))


def quick_profiles(change: Change = lambda profile: profile) -> Mapping[str, DeviceProfile]:
    """Every profile, with patience that suits a test."""
    quick = {}
    for name, profile in Catalogue().profiles.items():
        records = profile.records.model_copy(update={"idle_s": 0.01, "first_s": 0.2})
        quick[name] = change(profile.model_copy(update={"records": records}))
    return quick


def make_home(
    folder: Path,
    *,
    owners: tuple[DeviceSection, ...] = (),
    adopt: bool = True,
    limits: Limits | None = None,
    patience: Visits | None = None,
    change: Change = lambda profile: profile,
    knows_time: bool = True,
    enabled: Collection[str] = (),
) -> Home:
    clock = GatewayClock(BOOT, uncertainty=vouched(5) if knows_time else lambda: None, utc=lambda: NOON)
    box = Outbox(folder / "outbox", "gw-1", utc=lambda: NOON, limits=limits)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    return Home(
        "0.1.0",
        clock,
        0,
        box,
        sealer,
        GatewayVoice(box, sealer, clock),
        Devices.open(folder / "devices.json", owners, Adoption(person="p-1") if adopt else None),
        Catalogue(quick_profiles(change), enabled),
        patience or Visits(rest_s=5, longest_rest_s=300),
        silent(),
        nobody,
    )


def items_of(home: Home) -> list[Item]:
    """Open everything that the outbox holds."""

    def opened(data: bytes) -> bytes:
        return open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).payload

    box = home.outbox
    return [item for key in box.unsettled() for item in decode_items(opened(box.load(key) or b""))]
