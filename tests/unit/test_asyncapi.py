"""The description of the topics is what wire_format says, and is an AsyncAPI 3 document."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from pydantic_asyncapi.v3 import AsyncAPI

from tests.doubles.bridge_desk import sealer
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format import cose
from wire_format.canonical import decode
from wire_format.downlink import DownlinkHeader, ResendFrom
from wire_format.identity import derived_id
from wire_format.receipt import Receipt, SettledRange, Verdict, sign_receipt
from wire_format.status import Presence, Status, encode_status
from wire_format.topics import Channel, Topic, parse

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "asyncapi.yaml"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("asyncapi_script", ROOT / "scripts" / "asyncapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(PAGE.read_text())
    return found


def test_the_description_is_what_wire_format_says() -> None:
    assert PAGE.read_text() == script().text(), "run: make docs"


def test_it_is_asyncapi_and_a_broken_one_is_not() -> None:
    AsyncAPI.model_validate(page())
    for part, broken in (
        ("channels", {"up": {"address": 7}}),
        ("operations", {"x": {"action": "shout", "channel": {"$ref": "#/channels/up"}}}),
        ("info", {"title": "without a version"}),
        ("asyncapi", None),
    ):
        with pytest.raises(ValidationError):
            AsyncAPI.model_validate({**page(), part: broken})


def test_every_reference_leads_somewhere() -> None:
    whole, text = page(), PAGE.read_text()
    references = set(re.findall(r"#/[A-Za-z_/]+", text))
    assert len(references) > 8
    for reference in references:
        found: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_each_channel_is_an_address_that_topics_take() -> None:
    assert set(page()["channels"]) == {channel.value for channel in Channel}
    for name, channel in page()["channels"].items():
        address = channel["address"].replace("{site}", "ward").replace("{gateway}", "gw-1")
        assert parse(address) == Topic("ward", "gw-1", Channel(name))


def test_what_is_sent_is_of_the_described_type() -> None:
    """Real bytes of each channel: content type and signed header are those of the description."""
    keys, messages = gateway_keys(), page()["components"]["messages"]
    envelope = SealingHome().seal([blood_pressure("128", "82")]).data
    down = sealer(
        ResendFrom(outbox_id=derived_id("test", "x"), sequence=1),
        DownlinkHeader("gw-1", 1, NOW, NOW),
        keys.public.sealing,
    )
    settled = SettledRange(first=1, last=1, verdict=Verdict.STORED, digest=bytes(32))
    receipt = Receipt(gateway="gw-1", outbox_id=derived_id("test", "x"), issued_at=NOW, ranges=(settled,))
    signed = sign_receipt(receipt, bridge_keys().receipts)
    for channel, data in (("up", envelope), ("down", down), ("receipt", signed)):
        protected = decode(decode(data).value[0])
        assert protected.pop(cose.CONTENT_TYPE) == messages[channel]["contentType"]
        names = {name for name in protected if isinstance(name, str)}
        assert names == set(messages[channel]["payload"].get("x-signed-header", {}))
    said = decode(encode_status(Status(presence=Presence.ONLINE, software="0.1.0", since=NOW)))
    described = page()["components"]["schemas"]["Status"]
    assert set(described["required"]) <= set(said) <= set(described["properties"])
