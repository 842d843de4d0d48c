"""Virtual devices pair as they say: who has no passkey for a device that shows one gets no reading."""

import pytest
from bumble import hci
from bumble.controller import Controller
from bumble.core import UUID, ProtocolError
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.host import Host
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport.common import AsyncPipeSink

from virtual_home.devices.pairing import Pairing
from virtual_home.devices.peripheral import DeviceSpec
from virtual_home.devices.pushing import Cuff
from virtual_home.radio import Air

CAPABILITY = PairingDelegate.IoCapability
ADDRESS = "C0:49:5F:00:00:01"
MEASUREMENT = UUID.from_16_bits(0x2A35)


class Person(PairingDelegate):
    """Reads digits on one side and types them on the other."""

    def __init__(self, capability: CAPABILITY, passkey: int, cuff: Cuff) -> None:
        super().__init__(capability)
        self.passkey = passkey
        self.cuff = cuff

    async def get_number(self) -> int:
        return self.passkey

    async def generate_passkey(self) -> int:
        return 271828

    async def display_number(self, number: int, digits: int) -> None:
        assert digits == 6
        self.cuff.panel.type_passkey(number)


async def connected(pairing: Pairing, capability: CAPABILITY, passkey: int) -> tuple[Cuff, Connection]:
    air = Air()
    spec = DeviceSpec("cuff", "cuff", ADDRESS, "BP-1", "M", "m", "s", pairing=pairing, passkey=314159)
    if pairing == "passkey_entry":
        spec = DeviceSpec("cuff", "cuff", ADDRESS, "BP-1", "M", "m", "s", pairing=pairing)
    cuff = Cuff(spec, air, lambda _: None)
    await cuff.power_on()
    controller = Controller("central", link=air, public_address=None)
    config = DeviceConfiguration(address=hci.Address("F0:00:00:00:00:01", hci.Address.RANDOM_DEVICE_ADDRESS))
    central = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
    central.pairing_config_factory = lambda _: PairingConfig(
        sc=True,
        mitm=capability is not CAPABILITY.NO_OUTPUT_NO_INPUT,
        bonding=True,
        delegate=Person(capability, passkey, cuff),
    )
    await central.power_on()
    await cuff.advertise()
    return cuff, await central.connect(hci.Address(ADDRESS, hci.Address.RANDOM_DEVICE_ADDRESS))


async def subscribe(connection: Connection) -> None:
    peer = Peer(connection)
    await peer.discover_all()
    (measurement,) = peer.get_characteristics_by_uuid(MEASUREMENT)
    await measurement.subscribe(lambda _: None)


@pytest.mark.parametrize(
    ("pairing", "capability"),
    [
        ("just_works", CAPABILITY.NO_OUTPUT_NO_INPUT),
        ("passkey_display", CAPABILITY.KEYBOARD_INPUT_ONLY),
        ("passkey_entry", CAPABILITY.DISPLAY_OUTPUT_ONLY),
    ],
)
async def test_a_device_pairs_in_its_own_way(pairing: Pairing, capability: CAPABILITY) -> None:
    _, connection = await connected(pairing, capability, 314159)
    await connection.pair()
    await subscribe(connection)


async def test_a_wrong_passkey_is_refused() -> None:
    _, connection = await connected("passkey_display", CAPABILITY.KEYBOARD_INPUT_ONLY, 111111)
    with pytest.raises(ProtocolError):
        await connection.pair()


async def test_who_cannot_type_a_passkey_gets_no_bond() -> None:
    for pairing in ("passkey_display", "passkey_entry"):
        _, connection = await connected(pairing, CAPABILITY.NO_OUTPUT_NO_INPUT, 0)
        with pytest.raises(ProtocolError):
            await connection.pair()
