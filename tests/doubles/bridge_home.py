"""A home as the bridge sees it, without the product's agent: seals, publishes, and keeps what it is told."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.codec import Item, encode_items
from wire_format.downlink import Delivered, open_downlink
from wire_format.envelope import FIRST_PREVIOUS, EnvelopeHeader, Sealed, seal
from wire_format.keys import SealKey
from wire_format.receipt import Receipt, SettledRange, verify_receipt
from wire_format.topics import Channel, Topic

SITE, GATEWAY = "ward", "gw-1"


class SealingHome:
    """Seals envelopes under ascending numbers, each chained to the one before."""

    def __init__(self, gateway: str = GATEWAY, outbox: int = 1) -> None:
        self.gateway, self.outbox_id = gateway, UUID(int=outbox)
        self.sealed: list[Sealed] = []

    def seal(
        self, items: Sequence[Item], *, payload: bytes | None = None, also: Sequence[SealKey] = ()
    ) -> Sealed:
        previous = self.sealed[-1].digest if self.sealed else FIRST_PREVIOUS
        sent = dt.datetime.now(dt.UTC).replace(microsecond=0)
        header = EnvelopeHeader(self.gateway, self.outbox_id, len(self.sealed) + 1, sent, previous)
        data = encode_items(list(items)) if payload is None else payload
        one = seal(data, header, gateway_keys().signing, (bridge_keys().opening.public, *also))
        self.sealed.append(one)
        return one

    @property
    def topic(self) -> str:
        return str(Topic(SITE, self.gateway, Channel.UP))


class ConnectedHome(SealingHome):
    """The same, on a real broker. Receipts and messages are kept as they come, verified."""

    def __init__(self, port: int, gateway: str = GATEWAY) -> None:
        super().__init__(gateway)
        self.receipts: list[Receipt] = []
        self.messages: list[Delivered] = []
        self._loop = asyncio.get_running_loop()
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"home-{gateway}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(str(Topic(SITE, gateway, channel)), 1) for channel in (Channel.RECEIPT, Channel.DOWN)]
        )
        self._client.on_message = self._on_message
        # As homes do: the broker keeps what is for us while we are away.
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
        self._client.loop_start()

    def send(self, *sealed: Sealed) -> None:
        for one in sealed:
            self._client.publish(self.topic, one.data, qos=1)

    def settled(self) -> list[SettledRange]:
        return [part for receipt in self.receipts for part in receipt.ranges]

    def receipted(self) -> set[int]:
        return {number for part in self.settled() for number in range(part.first, part.last + 1)}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._take, message.topic, bytes(message.payload))

    def _take(self, topic: str, payload: bytes) -> None:
        hospital = bridge_keys().public
        if topic.endswith(Channel.RECEIPT):
            self.receipts.append(verify_receipt(payload, hospital.receipts))
        else:
            opening = gateway_keys().opening
            self.messages.append(open_downlink(payload, self.gateway, hospital.messages, opening, None))
