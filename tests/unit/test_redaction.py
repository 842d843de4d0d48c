"""Redaction: what identifies a device or a person is gone from a recording, what drivers need is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.capture import Capture, Exchange, Kind, Origin, Session, written
from device_drivers.redaction import PERSONAL, Secrets, neutral, redacted

ADDRESS = "C0:49:5F:4A:77:01"
RAW = bytes.fromhex("C0495F4A7701")
KEY = "00112233445566778899aabbccddeeff"


def session(*exchange: Exchange, **more: object) -> Session:
    return Session.model_validate({
        "id": "s", "origin": Origin.REAL, "source": "a test", "exchange": exchange, **more
    })  # fmt: skip


def read(on: str, data: bytes) -> Exchange:
    return Exchange(kind=Kind.READ, on=on, hex=data.hex())


def clean(one: Exchange, **secrets: object) -> tuple[bytes, tuple[str, ...]]:
    after, said = redacted(session(one), Secrets(**secrets))  # type: ignore[arg-type]  # as given by name
    return after.exchange[0].data, said


@pytest.mark.parametrize("uuid", PERSONAL)
def test_personal_characteristics_keep_their_length_alone(uuid: str) -> None:
    data, said = clean(read(uuid, b"Ab-1234\0"))
    assert data == b"Aa-0000\0"
    assert said == (PERSONAL[uuid],)


@pytest.mark.parametrize(
    "form",
    [
        RAW,
        RAW[::-1],
        RAW[2:],
        RAW[:1:-1],
        b"c0495f4a7701",
        b"01774A5FC0",
        b"C0:49:5F:4A:77:01",
        b"5F-4A-77-01",
    ],
)
def test_an_address_is_found_in_every_form(form: bytes) -> None:
    data, said = clean(
        Exchange(kind=Kind.NOTIFY, on="FFF1", hex=(b"\x10" + form + b"\x20").hex()), address=ADDRESS
    )
    assert form not in data
    assert (data[:1], data[-1:], len(data)) == (b"\x10", b"\x20", len(form) + 2)
    assert said == ("address",)


def test_an_address_of_zeros_is_not_taken_for_values() -> None:
    pressure = read("2A35", bytes.fromhex("067c00000001"))
    assert clean(pressure, address="C0:49:00:00:00:01") == (pressure.data, ())


def test_a_serial_number_that_the_device_said_is_found_elsewhere_too() -> None:
    after, said = redacted(
        session(
            read("2A25", b"SN-48151623"),
            Exchange(kind=Kind.RECEIVED, hex=b"@ SN-48151623 ok".hex()),
            Exchange(kind=Kind.SUBSCRIBE, on="2A35"),
        ),
        Secrets(),
    )
    assert [e.data for e in after.exchange] == [b"AA-00000000", b"@ AA-00000000 ok", b""]
    assert said == ("serial number",)


def test_what_was_known_of_the_home_is_left_out() -> None:
    text = b"label 99887766, passkey 004711"
    data, said = clean(
        Exchange(kind=Kind.RECEIVED, hex=text.hex()), serials=("99887766",), passkey=4711, others=("label",)
    )
    assert data == b"aaaaa 00000000, passkey 000000"
    assert set(said) == {"serial number", "passkey", "what was named to be left out"}


def test_codes_and_keys_go_and_the_replay_still_fits() -> None:
    consent = Exchange(kind=Kind.WRITE, on="2A9F", hex="0201a80e")
    register = Exchange(kind=Kind.WRITE, on="2A9F", hex="01a80e")
    answer = Exchange(kind=Kind.NOTIFY, on="2A9F", hex="200201")
    advert = Exchange(kind=Kind.ADVERT, service_data={"FE95": KEY}, manufacturer_data={911: RAW[::-1].hex()})
    before = session(consent, register, answer, advert, consents={1: 3752}, bind_key=KEY, address=ADDRESS)
    after, said = redacted(before, Secrets())
    assert [e.hex for e in after.exchange[:3]] == ["02010000", "010000", "200201"]
    assert (after.consents, after.bind_key, after.address) == ({1: 0}, None, None)
    assert after.exchange[3].service_data == {"FE95": "00" * 16}
    assert after.exchange[3].manufacturer_data == {911: "00" * 6}
    assert {"consent codes", "address", "bind key"} <= {text.partition(" (")[0] for text in said}


@pytest.mark.parametrize(
    ("name", "keep", "shown"),
    [
        ("BLESmart_0000025828FFB2790FF0", ("BLESmart_",), "BLESmart_00000000000000000000"),
        ("HEM-7142T2", ("HEM-7142",), "HEM-7142T2"),
        ("HEM-7142T2", (), "HEM-0000T2"),
        ("BM85", ("BM85",), "BM85"),
        ("BP 5f4a7701", (), "BP 00000000"),
        ("Facade", (), "Facade"),
    ],
)
def test_a_name_keeps_its_kind_and_loses_its_number(name: str, keep: tuple[str, ...], shown: str) -> None:
    before = session(Exchange(kind=Kind.ADVERT, on=name), read("2A00", name.encode()))
    after, said = redacted(before, Secrets(ADDRESS), keep)
    assert [after.exchange[0].on, after.exchange[1].data] == [shown, shown.encode()]
    assert said == (() if shown == name else ("digits of the name",))


def test_the_model_number_may_be_in_the_name() -> None:
    before = session(read("2A24", b"BP 7000\0"), Exchange(kind=Kind.ADVERT, on="BP 7000 1234"))
    assert redacted(before, Secrets())[0].exchange[1].on == "BP 7000 0000"


@given(st.binary(max_size=12), st.binary(max_size=12), st.text("0123456789ABC", min_size=6, max_size=12))
def test_no_secret_is_left_in_the_file(head: bytes, tail: bytes, serial: str) -> None:
    parts = [RAW, RAW[::-1], serial.encode(), b"5f4a7701"]
    notify = [Exchange(kind=Kind.NOTIFY, on="FFF1", hex=(head + part + tail).hex()) for part in parts]
    after, _ = redacted(session(*notify, read("2A25", serial.encode())), Secrets(ADDRESS))
    text = written(Capture(format="kiteline-capture-1", profile="x", device="x", sessions=(after,)))
    assert RAW.hex() not in text
    assert RAW[::-1].hex() not in text
    assert b"5f4a7701".hex() not in text
    assert len(neutral(serial.encode())) == len(serial)
    if neutral(serial.encode()) != serial.encode():
        assert serial.encode().hex() not in text
