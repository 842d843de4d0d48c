"""bleak over a Bumble host: the agent's own scanner and client code runs unchanged on a virtual radio.

What differs from Linux is only what lies below bleak. Indications are confirmed as BlueZ does it: by the
stack, before any program is told.
"""

import asyncio
import uuid as uuids
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble import hci
from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic
from bumble.host import Host
from bumble.keys import JsonKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport

from device_drivers.profile import AgentCapability
from edge_agent.passkeys import PairingTerms

_PROPERTIES = (
    (Characteristic.Properties.READ, "read"),
    (Characteristic.Properties.WRITE_WITHOUT_RESPONSE, "write-without-response"),
    (Characteristic.Properties.WRITE, "write"),
    (Characteristic.Properties.NOTIFY, "notify"),
    (Characteristic.Properties.INDICATE, "indicate"),
)
_LISTS = {
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
"""Lists of services, by the length of a UUID in them."""

_SERVICE_DATA = {AdvertisingData.SERVICE_DATA_16_BIT_UUID: 2, AdvertisingData.SERVICE_DATA_128_BIT_UUID: 16}
_NAMES = (AdvertisingData.COMPLETE_LOCAL_NAME, AdvertisingData.SHORTENED_LOCAL_NAME)
_CENTRAL_ADDRESS = "F0:00:00:00:00:01"
_MTU = 247
_ANSWER_S = 3.0
_ATT_HEADER = 3


def _text(uuid: UUID) -> str:
    return str(uuids.UUID(bytes=bytes(uuid.to_bytes(force_128=True))[::-1]))


class VirtualRadio:
    """One central on one HCI transport. `scanner` and `client` are what bleak takes as `backend`."""

    def __init__(self, central: Device, transport: Transport) -> None:
        self.central = central
        self.transport = transport
        # Bumble makes one LE connection at a time.
        self.connecting = asyncio.Lock()
        self.listeners = 0
        self.lost: Counter[str] = Counter()
        self._terms: dict[str, PairingTerms] = {}
        self.scanner = type("VirtualScanner", (_Scanner,), {"radio": self})
        self.client = type("VirtualClient", (_Client,), {"radio": self})

    @classmethod
    async def open(cls, transport: str, keys: Path) -> "VirtualRadio":
        """Connect to a controller (`unix:/path`) and power it on; bonds are kept in the file `keys`."""
        opened = await open_transport(transport)
        config = DeviceConfiguration(
            name="kiteline", address=hci.Address(_CENTRAL_ADDRESS, hci.Address.RANDOM_DEVICE_ADDRESS)
        )
        central = Device(config=config, host=Host(opened.source, opened.sink))
        radio = cls(central, opened)
        central.pairing_config_factory = radio.pairing_config
        await central.power_on()
        central.keystore = JsonKeyStore(None, str(keys))
        return radio

    def pairing_config(self, connection: Connection) -> PairingConfig:
        """Return what is claimed towards a device; without terms of its own neither input nor output."""
        terms = self._terms.get(_plain(connection.peer_address), PairingTerms())
        return PairingConfig(
            sc=True,
            # As Linux: protection is asked for if there is any way to give it.
            mitm=terms.capability is not AgentCapability.NO_INPUT_NO_OUTPUT,
            bonding=True,
            delegate=_Delegate(terms),
            # It connects under its random address, and must be known by that one when it comes back.
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    # --- what `edge_agent.radio_host.RadioHost` asks ---

    async def holds(self, address: str) -> bool:
        """Tell whether the file of bonds has one with a device."""
        return await self._key_of(address) is not None

    async def remove(self, address: str) -> None:
        """Take a bond out of the file."""
        key = await self._key_of(address)
        if key is not None and self.central.keystore is not None:
            await self.central.keystore.delete(key)

    async def _key_of(self, address: str) -> str | None:
        keys = [] if self.central.keystore is None else await self.central.keystore.get_all()
        return next((name for name, _ in keys if name[:17].upper() == address), None)

    def drops(self, address: str) -> int:
        """Return how many connections with a device ended."""
        return self.lost[address]

    @asynccontextmanager
    async def expecting(self, address: str, terms: PairingTerms) -> AsyncIterator[None]:
        """Pair with this device on these terms meanwhile."""
        self._terms[address] = terms
        try:
            yield
        finally:
            del self._terms[address]

    async def close(self) -> None:
        """Let go of the controller; devices see a supervision timeout."""
        await self.transport.close()


_CAPABILITIES = {
    AgentCapability.NO_INPUT_NO_OUTPUT: PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT,
    AgentCapability.DISPLAY_ONLY: PairingDelegate.IoCapability.DISPLAY_OUTPUT_ONLY,
    AgentCapability.KEYBOARD_ONLY: PairingDelegate.IoCapability.KEYBOARD_INPUT_ONLY,
    AgentCapability.DISPLAY_YES_NO: PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    AgentCapability.KEYBOARD_DISPLAY: PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}


class _Delegate(PairingDelegate):
    """Answers a pairing as the terms say."""

    def __init__(self, terms: PairingTerms) -> None:
        super().__init__(_CAPABILITIES[terms.capability])
        self._source = terms.source

    async def get_number(self) -> int | None:
        return await self._source.passkey()

    async def compare_numbers(self, number: int, digits: int) -> bool:
        del digits
        return await self._source.same(number)

    async def display_number(self, number: int, digits: int) -> None:
        del digits
        await self._source.show(number)


def _plain(address: hci.Address) -> str:
    return address.to_string(with_type_qualifier=False).upper()


async def _answered(command: Any) -> None:  # noqa: ANN401 - any HCI command
    """Wait for a controller's answer, as long as a lost controller may keep us waiting."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            await command
    except (BaseBumbleError, TimeoutError) as error:
        raise BleakError("The controller does not answer") from error


async def _att(call: Any) -> Any:  # noqa: ANN401 - any GATT request
    try:
        return await call
    except ATT_Error as error:
        raise BleakGATTProtocolError(BleakGATTProtocolErrorCode(error.error_code)) from error
    except (BaseBumbleError, TimeoutError, asyncio.CancelledError) as error:
        _raise_if_cancelled(error)
        raise BleakError("Not connected") from error


def _raise_if_cancelled(error: BaseException) -> None:
    """Tell our own cancellation from Bumble's, which cancels what waits when a link is lost."""
    if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():  # type: ignore[union-attr]  # inside of a task
        raise error


class _Scanner(BaseBleakScanner):
    radio: ClassVar[VirtualRadio]

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: Any, **_: Any) -> None:  # noqa: ANN401 - bleak's
        del scanning_mode
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        central = self.radio.central
        central.on(Device.EVENT_ADVERTISEMENT, self._heard)
        self.radio.listeners += 1
        if self.radio.listeners == 1:
            await central.start_scanning(filter_duplicates=False)

    async def stop(self) -> None:
        central = self.radio.central
        central.remove_listener(Device.EVENT_ADVERTISEMENT, self._heard)
        self.radio.listeners -= 1
        if self.radio.listeners == 0:
            await _answered(central.stop_scanning())

    def _heard(self, advertisement: Advertisement) -> None:
        name, services, company, said = None, [], dict[int, bytes](), dict[str, bytes]()
        for kind, value in advertisement.data.ad_structures:
            if kind in _NAMES:
                name = value.decode()
            elif length := _LISTS.get(kind):
                starts = range(0, len(value), length)
                services += [_text(UUID.from_bytes(value[i : i + length])) for i in starts]
            elif length := _SERVICE_DATA.get(kind):
                said[_text(UUID.from_bytes(value[:length]))] = value[length:]
            elif kind == AdvertisingData.MANUFACTURER_SPECIFIC_DATA:
                company[int.from_bytes(value[:2], "little")] = value[2:]
        if not self.is_allowed_uuid(services):
            return
        address = advertisement.address.to_string(with_type_qualifier=False)
        data = AdvertisementData(name, company, said, services, None, advertisement.rssi, (advertisement,))
        device = self.create_or_update_device(address, address, name, advertisement.address, data)
        self.call_detection_callbacks(device, data)


class _Client(BaseBleakClient):
    radio: ClassVar[VirtualRadio]

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:  # noqa: ANN401 - bleak's
        super().__init__(address_or_ble_device, **kwargs)
        known = isinstance(address_or_ble_device, BLEDevice)
        self._peer_address = address_or_ble_device.details if known else hci.Address(self.address)  # type: ignore[union-attr]  # known says which
        self._name = address_or_ble_device.name if known else None  # type: ignore[union-attr]  # as above
        self._connection: Connection | None = None
        self._handlers: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return self._name or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        return self._peer.gatt_client.mtu if self._connection else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:  # noqa: ANN401, FBT001 - bleak's
        if self._connection is not None:
            raise BleakError("Client is already connected")
        async with asyncio.timeout(self._timeout), self.radio.connecting:
            self._connection = await self.radio.central.connect(self._peer_address, timeout=None)
        self._connection.on(Connection.EVENT_DISCONNECTION, self._lost)
        self._peer = Peer(self._connection)
        try:
            await _att(self._peer.request_mtu(_MTU))
            if pair:
                await self.pair()
            self.services = await _att(self._discover())
        except BleakError:
            await self.disconnect()
            raise

    async def _discover(self) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for service in await self._peer.discover_services():
            own = BleakGATTService(service, service.handle, _text(service.uuid))
            found.add_service(own)
            for each in await service.discover_characteristics():
                names = [name for bit, name in _PROPERTIES if each.properties & bit]
                made = BleakGATTCharacteristic(
                    each,
                    each.handle,
                    _text(each.uuid),
                    names,  # type: ignore[arg-type]  # every name of the table is one of bleak's
                    lambda: self.mtu_size - _ATT_HEADER,
                    own,
                )
                found.add_characteristic(made)
                for descriptor in await each.discover_descriptors():
                    found.add_descriptor(
                        BleakGATTDescriptor(descriptor, descriptor.handle, _text(descriptor.type), made)
                    )
        return found

    def _lost(self, _reason: int) -> None:
        self._connection = None
        self.radio.lost[self.address.upper()] += 1
        self.services = None
        if self._disconnected_callback:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._connection is not None:
            await _answered(self._connection.disconnect())

    async def pair(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - bleak's
        if self._connection is None:
            raise BleakError("Not connected")
        keystore, connection = self.radio.central.keystore, self._connection
        try:
            if keystore is not None and await keystore.get(str(connection.peer_address)):
                await connection.encrypt()
            else:
                await connection.pair()
        except (BaseBumbleError, TimeoutError, asyncio.CancelledError) as error:
            _raise_if_cancelled(error)
            raise BleakError(f"pairing failed: {error}") from error

    async def unpair(self) -> None:
        keystore = self.radio.central.keystore
        if keystore is not None:
            await keystore.delete(str(self._peer_address))
        await self.disconnect()

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: Any) -> bytearray:  # noqa: ANN401 - bleak's
        return bytearray(await _att(characteristic.obj.read_value()))

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **_: Any) -> bytearray:  # noqa: ANN401 - bleak's
        return bytearray(await _att(descriptor.obj.read_value()))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: Any,  # noqa: ANN401 - bleak's
        response: bool,  # noqa: FBT001 - bleak's
    ) -> None:
        await _att(characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: Any) -> None:  # noqa: ANN401 - bleak's
        await _att(descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: Callable[[bytearray], None],
        **_: Any,  # noqa: ANN401 - bleak's
    ) -> None:
        loop = asyncio.get_running_loop()

        def heard(value: bytes) -> None:
            # Bumble confirms an indication after its subscribers ran, BlueZ before a program hears of it.
            loop.call_soon(callback, bytearray(value))

        self._handlers[characteristic.handle] = heard
        await _att(characteristic.obj.subscribe(heard))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await _att(characteristic.obj.unsubscribe(self._handlers.pop(characteristic.handle)))
