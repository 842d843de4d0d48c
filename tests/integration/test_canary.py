"""The canary: the search that finds nothing when readings are sealed does find them when they are not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.outbox_file import Seal
from edge_agent.sink import OutboxSink, Sealer
from edge_agent.steps import Step
from tests.doubles.edge_hospital import eventually, topic
from tests.doubles.edge_readings import CUFF, bridge_keys, gateway_keys, pressure
from tests.integration.test_edge_publisher import CLOCK, home
from virtual_home.servers import broker
from wire_format.codec import Item, encode_items
from wire_format.envelope import EnvelopeHeader, Sealed, digest_of
from wire_format.keys import SealKey
from wire_format.measurement import RawPacket
from wire_format.topics import Channel


class OpenSealer(Sealer):
    """What a gateway would be whose sealing somebody switched off."""

    def prepare(self, items: Sequence[Item], also: tuple[SealKey, ...] = ()) -> Seal:  # noqa: ARG002 - sealed to nobody
        payload = encode_items(list(items))

        def under(header: EnvelopeHeader) -> Sealed:
            data = payload + header.sequence.to_bytes(4, "big")
            return Sealed(data, digest_of(data))

        return under


def keep_for_somebody_away(port: int) -> None:
    """Let the broker hold what comes up for a client that is not there."""
    client = Client(CallbackAPIVersion.VERSION2, "away", protocol=MQTTProtocolVersion.MQTTv5)
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 3600
    subscribed: list[bool] = []
    client.on_connect = lambda c, *_: c.subscribe(topic(Channel.UP), 1)
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
    while not subscribed:
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)


@pytest.mark.parametrize(("kind", "readable"), [(Sealer, False), (OpenSealer, True)])
async def test_the_canary_is_found_only_without_sealing(
    tmp_path: Path, kind: type[Sealer], readable: bool
) -> None:
    server, port = broker(tmp_path / "broker")
    await server.start()
    keep_for_somebody_away(port)
    canary = b"canary-packet-192/124"
    plain = pressure(192)
    told = plain.provenance.model_copy(update={"raw": (RawPacket(source="2A35", data=canary),)})
    reading = plain.model_copy(update={"provenance": told})
    async with home(tmp_path / "outbox", port) as one:
        sealer = kind(gateway_keys().signing, (bridge_keys().opening.public,))
        sink = OutboxSink(one.outbox, sealer, CLOCK, CUFF.device_id, ())
        sink.commit([reading])
        one.publisher.wake()
        await eventually(lambda: Step.PUBACK in one.steps)
        one.outbox.close()
    await server.stop()
    for folder in ("broker", "outbox"):
        files = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        assert any(canary in path.read_bytes() for path in files) == readable, folder
        assert any(CUFF.maker.encode() in path.read_bytes() for path in files) == readable, folder
