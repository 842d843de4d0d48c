"""Write docs/asyncapi.yaml, the description of the MQTT topics, from wire_format itself."""

import sys
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wire_format import codec, downlink, envelope, receipt, status, topics  # noqa: E402 - found through the line above
from wire_format.topics import Channel  # noqa: E402 - as above

PAGE: Final = ROOT / "docs" / "asyncapi.yaml"
STATUS_TYPE: Final = "application/cbor"
REF: Final = "#/components/schemas/{model}"

ABOUT: Final = """\
Written by `make docs` from wire_format; do not edit it. MQTT 5, QoS 1. A PUBACK proves nothing: only a signed
receipt lets a home forget. All bytes are deterministic CBOR (RFC 8949, 4.2.1). Envelopes and messages are a
COSE_Sign1 (RFC 9052, Ed25519) over a COSE_Encrypt that is sealed by HPKE (RFC 9180): the broker reads the
signed header and nothing else.
"""
KINDS: Final = {bytes: "bytes", str: "string", int: "integer"}
FACTS: Final = {
    Channel.UP: {
        "title": "Envelope of readings",
        "sender": "home",
        "type": envelope.CONTENT_TYPE,
        "summary": "One commit of a home, about one person. Signed by the gateway, sealed to the hospital.",
        "header": envelope._FIELDS,  # noqa: SLF001 - the one place where they are written down
        "sealed": {"v": codec.VERSION, "items": sorted(codec.ITEM_TYPES), "most": codec.MAX_ITEMS},
    },
    Channel.RECEIPT: {
        "title": "Receipt",
        "sender": "hospital",
        "type": receipt.CONTENT_TYPE,
        "summary": "What is settled of one outbox. Signed by the hospital, not sealed: numbers and hashes.",
        "signed": receipt.Receipt,
    },
    Channel.DOWN: {
        "title": "Message to a home",
        "sender": "hospital",
        "type": downlink.CONTENT_TYPE,
        "summary": "What the hospital says to one home. Signed by the hospital, sealed to the gateway.",
        "header": downlink._FIELDS,  # noqa: SLF001 - as above
        "sealed": {"kinds": sorted(downlink._KINDS)},  # noqa: SLF001 - as above
    },
    Channel.STATUS: {
        "title": "Status and last will",
        "sender": "home",
        "type": STATUS_TYPE,
        "summary": "That a gateway is there or not. Retained, not signed, not sealed: nothing stands on it.",
        "plain": status.Status,
        "retain": True,
    },
}


def document() -> dict[str, Any]:
    """Return the whole description."""
    schemas: dict[str, Any] = {}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Kiteline, between home and hospital", "version": "1", "description": ABOUT},
        "defaultContentType": STATUS_TYPE,
        "channels": {channel.value: _channel(channel) for channel in Channel},
        "operations": {
            name: operation for channel in Channel for name, operation in _operations(channel).items()
        },
        "components": {
            "messages": {channel.value: _message(channel, schemas) for channel in Channel},
            "schemas": schemas,
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    name = f"A name: {topics._NAME.pattern}"  # noqa: SLF001 - as above
    return {
        "address": f"{topics.ROOT}/{{site}}/{{gateway}}/{channel}",
        "title": FACTS[channel]["title"],
        "messages": {channel.value: {"$ref": f"#/components/messages/{channel}"}},
        "parameters": {"site": {"description": name}, "gateway": {"description": name}},
    }


def _operations(channel: Channel) -> dict[str, Any]:
    """Return who sends and who receives: both sides are ours."""
    facts = FACTS[channel]
    sender = str(facts["sender"])
    receiver = "home" if sender == "hospital" else "hospital"
    here = {"channel": {"$ref": f"#/channels/{channel}"}, "summary": facts["summary"]}
    mqtt = {"mqtt": {"qos": 1, "retain": bool(facts.get("retain")), "bindingVersion": "0.2.0"}}
    found = {f"{sender}_sends_{channel}": {"action": "send", **here, "bindings": mqtt}}
    if channel is not Channel.STATUS:  # whoever is on the broker may look; the bridge does not
        found[f"{receiver}_receives_{channel}"] = {"action": "receive", **here}
    return found


def _message(channel: Channel, schemas: dict[str, Any]) -> dict[str, Any]:
    facts = FACTS[channel]
    made: dict[str, Any] = {
        "name": channel.value,
        "title": facts["title"],
        "summary": facts["summary"],
        "contentType": facts["type"],
    }
    if (plain := facts.get("plain")) is not None:
        return {**made, "payload": {"$ref": _schema(plain, schemas)}}
    payload: dict[str, Any] = {"type": "string", "format": "binary", "contentMediaType": facts["type"]}
    if (header := facts.get("header")) is not None:
        payload["x-signed-header"] = {name: KINDS.get(kind, kind.__name__) for name, kind in header.items()}
    if (signed := facts.get("signed")) is not None:
        payload["x-signed-payload"] = {"$ref": _schema(signed, schemas)}
    if (sealed := facts.get("sealed")) is not None:
        payload["x-sealed"] = sealed
    return {**made, "payload": payload}


def _schema(model: Any, schemas: dict[str, Any]) -> str:  # noqa: ANN401 - a pydantic model
    found = model.model_json_schema(ref_template=REF)
    schemas.update(found.pop("$defs", {}))
    schemas[model.__name__] = found
    return REF.format(model=model.__name__)


def text() -> str:
    """Return the description as a file."""
    return str(yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110))


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
