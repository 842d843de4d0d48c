"""`edge-agent decode`: JSON for what is right, a sentence and a status for what is not."""

import json

import pytest

from edge_agent.decode import decode


def test_items_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    packet = "16:7c:00:56:00:61:00:e8:07:06:0f:11:11:1b:33:00:00:00"
    assert decode("standard/blood_pressure", "0x2a35", [packet]) == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert item["quantity"] == "blood_pressure"
    assert item["stamp"] == "2024-06-15T17:17:27"
    values = {c["term"]: (c["value"], c["unit"]) for c in item["components"]}
    assert values["systolic"] == ("124", "mm[Hg]")
    assert values["pulse_rate"] == ("51", "/min")


def test_a_malformed_packet_is_named_and_the_others_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode("standard/blood_pressure", "2A35", ["010203040506", "007c0056006100"]) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 1
    assert err.startswith("Packet 1: Blood Pressure Measurement: the packet of 6 bytes ends within")


@pytest.mark.parametrize(
    ("profile", "characteristic", "packet", "said"),
    [
        ("standard/none", "2A35", "00", "There is no device profile"),
        ("standard/blood_pressure", "2A36", "00", "reads no result from '2A36'"),
        ("standard/blood_pressure", "2A35", "zz", "is no hex"),
    ],
)
def test_what_is_not_understood_is_said(
    profile: str, characteristic: str, packet: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(profile, characteristic, [packet]) == 2
    assert said in capsys.readouterr().err
