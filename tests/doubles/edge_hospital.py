"""A hospital that opens envelopes and signs receipts, on a real broker, without the product's bridge."""

import asyncio
import datetime as dt
from collections.abc import Callable
from uuid import UUID

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.codec import Item, decode_items
from wire_format.downlink import DownlinkHeader, Message, seal_downlink
from wire_format.envelope import Opened, open_sealed
from wire_format.receipt import Verdict, issue, sign_receipt
from wire_format.topics import Channel, Topic

SITE, GATEWAY = "ward", "gw-1"


def topic(channel: Channel) -> str:
    return str(Topic(SITE, GATEWAY, channel))


class Hospital:
    """Keeps what came, in order of arrival; `receipting` says whether it confirms at once."""

    def __init__(self, port: int, *, receipting: bool = True) -> None:
        self.receipting = receipting
        self.arrived: list[Opened] = []
        self.statuses: list[bytes] = []
        self.loop = asyncio.get_running_loop()
        self.client = Client(CallbackAPIVersion.VERSION2, "hospital", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(
            [(topic(Channel.UP), 1), (topic(Channel.STATUS), 1)]
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.loop.call_soon_threadsafe(self._take, message.topic, bytes(message.payload))

    def _take(self, name: str, payload: bytes) -> None:
        if name == topic(Channel.STATUS):
            self.statuses.append(payload)
        else:
            opened = open_sealed(payload, lambda _: gateway_keys().signing.public, bridge_keys().by_id)
            self.arrived.append(opened)
            if self.receipting:
                self.receipt([opened])

    def receipt(self, opened: list[Opened], verdict: Verdict = Verdict.STORED) -> None:
        header = opened[0].header
        settled = [(one.header.sequence, verdict, one.digest) for one in opened]
        for receipt in issue(header.gateway, header.outbox_id, settled, dt.datetime.now(dt.UTC)):
            self.send(Channel.RECEIPT, sign_receipt(receipt, bridge_keys().receipts))

    def say(self, message: Message, sequence: int, issued: dt.datetime | None = None) -> None:
        issued = issued or dt.datetime.now(dt.UTC)
        header = DownlinkHeader(GATEWAY, sequence, issued, issued + dt.timedelta(days=7))
        recipient = gateway_keys().opening.public
        self.send(Channel.DOWN, seal_downlink(message, header, bridge_keys().messages, recipient))

    def send(self, channel: Channel, payload: bytes) -> None:
        self.client.publish(topic(channel), payload, qos=1)

    def items(self, outbox_id: UUID | None = None) -> list[Item]:
        """What arrived, once: an envelope comes again as it was when its receipt came late."""
        once = {(one.header.outbox_id, one.header.sequence, one.digest): one for one in self.arrived}
        return [
            item
            for (outbox, _, _), one in once.items()
            if outbox_id in {None, outbox}
            for item in decode_items(one.payload)
        ]

    async def until(self, true: Callable[[], bool]) -> None:
        await eventually(true)


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for lies in another process
            await asyncio.sleep(0.02)
