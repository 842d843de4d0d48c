"""The page of supported devices is that of the live catalogue, and every known packet is accounted for."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.profile import parse_profile

pytestmark = pytest.mark.no_cover  # about a page of docs/, which has no floor

SCRIPT = Path(__file__).parents[2] / "scripts" / "supported_devices.py"
spec = importlib.util.spec_from_file_location("supported_devices", SCRIPT)
assert spec is not None
assert spec.loader is not None
devices = importlib.util.module_from_spec(spec)
sys.modules["supported_devices"] = devices
spec.loader.exec_module(devices)

ADVICE = "run `make docs` and commit what it wrote"


def test_the_page_is_not_stale() -> None:
    assert devices.PAGE.read_text() == devices.page(), ADVICE


def test_every_profile_is_on_the_page_and_those_without_evidence_are_apart() -> None:
    on, _, off = devices.page().partition("## Off by default")
    for name, profile in Catalogue().profiles.items():
        assert f"| `{name}` |" in (on if profile.on_by_default else off)
        assert all(fact in devices.page() for fact in profile.not_verified)


def test_a_profile_says_what_it_needs() -> None:
    profile = parse_profile(
        "x/y",
        b"""
title = "X"
driver = "gatt_push"
evidence = "specification"
not_verified = ["Whether it beeps."]
[match]
services = ["1810"]
[link]
passkey = "device_label"
agent = "KeyboardOnly"
[records]
[clock]
write = "always"
believed = false
[users]
consent = true
""",
    )
    row = devices.row_of(profile.model_copy(update={"name": "standard/blood_pressure"}))
    assert row[4:] == (
        "blood pressure",
        "specification",
        "set at each visit; not believed",
        "at the first visit, passkey on its label; consent code of the user",
    )
    assert devices.unverified([profile]) == "\nNever seen on a device:\n\n- `x/y`: Whether it beeps.\n"


def test_every_known_packet_is_decoded_or_refused_with_a_reason() -> None:
    known = devices.known_ids()
    assert len(known) == len(set(known)) == 92
    captured, refused, pending = devices.captured_ids(), devices.refused_ids(), set(devices.pending_ids())
    missing = set(known) - captured - refused - pending
    assert not missing, "write a test that decodes them, or say in docs/not_supported.toml why not"
    assert not pending & captured, ADVICE
    assert not refused & captured, "what a capture has is supported: take it out of docs/not_supported.toml"
    assert Counter(one in known for one in refused | pending)[False] == 0


@pytest.mark.parametrize("ids", [[], ["a-1"], ["a-1", "b-2"]])
def test_pending_packets_are_written_back(ids: list[str]) -> None:
    before = 'x = 1\n[pending]\nids = [\n  "old",\n]\n'
    after = devices.with_pending(before, ids)
    assert devices.tomllib.loads(after) == {"x": 1, "pending": {"ids": ids}}
    assert devices.with_pending(after, ["old"]) == before
