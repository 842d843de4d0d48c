"""Envelopes: everything that can be wrong with one is refused, and never half-opened."""

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import cbor2
import pytest
from cbor2 import CBORTag

from wire_format import cose
from wire_format.canonical import encode
from wire_format.envelope import (
    FIRST_PREVIOUS,
    Chain,
    EnvelopeHeader,
    Sealed,
    chain_verdict,
    digest_of,
    open_sealed,
    read_header,
    recipients_of,
    seal,
)
from wire_format.errors import Misconfigured, Rejected, Untrusted
from wire_format.keys import (
    BridgeKeys,
    BridgePublic,
    GatewayKeys,
    GatewayPublic,
    Kem,
    OpenKey,
    SealKey,
    SigningKey,
    VerifyKey,
    dump_keys,
    load_keys,
)

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PAYLOAD = b"canary-plaintext-192/124"
HEADER = EnvelopeHeader("gw-1", UUID(int=9), 3, NOW, FIRST_PREVIOUS)
GATEWAY = GatewayKeys.generate()
BRIDGE = BridgeKeys.generate()
CLASSICAL = BridgeKeys.generate(Kem.X25519)


def signers(gateway: str) -> VerifyKey:
    if gateway != "gw-1":
        raise Untrusted(f"no gateway {gateway}")
    return GATEWAY.signing.public


def sealed(*recipients: SealKey) -> Sealed:
    return seal(PAYLOAD, HEADER, GATEWAY.signing, recipients or (BRIDGE.opening.public,))


@pytest.mark.parametrize("bridge", [BRIDGE, CLASSICAL], ids=["hybrid", "classical"])
def test_opens_to_what_was_sealed(bridge: BridgeKeys) -> None:
    one = sealed(bridge.opening.public)
    opened = open_sealed(one.data, signers, bridge.by_id)
    assert (opened.header, opened.payload, opened.digest) == (HEADER, PAYLOAD, digest_of(one.data))
    assert read_header(one.data, signers) == HEADER
    assert PAYLOAD not in one.data


def test_every_recipient_opens_it_and_nobody_else() -> None:
    clinic = OpenKey.generate()
    one = sealed(BRIDGE.opening.public, clinic.public)
    for keys in (BRIDGE.by_id, {clinic.public.key_id: clinic}):
        assert open_sealed(one.data, signers, keys).payload == PAYLOAD
    with pytest.raises(Rejected, match="not for any key"):
        open_sealed(one.data, signers, BridgeKeys.generate().by_id)
    stranger = OpenKey.generate()
    with pytest.raises(Untrusted):
        open_sealed(one.data, signers, {BRIDGE.opening.public.key_id: stranger})


def test_a_retired_key_still_opens() -> None:
    renewed = BridgeKeys(OpenKey.generate(), BRIDGE.receipts, BRIDGE.messages, (BRIDGE.opening,))
    assert open_sealed(sealed().data, signers, renewed.by_id).payload == PAYLOAD


def test_whom_it_is_sealed_to_can_be_read_by_anybody() -> None:
    other = OpenKey.generate()
    one = sealed(BRIDGE.opening.public, other.public)
    assert recipients_of(one.data) == {BRIDGE.opening.public.key_id, other.public.key_id}
    with pytest.raises(Rejected):
        recipients_of(one.data[:-1])


def test_mixed_no_or_too_many_recipients_are_refused_when_sealing() -> None:
    with pytest.raises(Misconfigured, match="one kind"):
        sealed(BRIDGE.opening.public, CLASSICAL.opening.public)
    with pytest.raises(Misconfigured):
        seal(PAYLOAD, HEADER, GATEWAY.signing, [])
    with pytest.raises(Misconfigured):
        seal(PAYLOAD, HEADER, GATEWAY.signing, [BRIDGE.opening.public] * 9)


def test_every_changed_bit_is_refused() -> None:
    data = sealed(CLASSICAL.opening.public).data
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((Rejected, Untrusted)):
            open_sealed(bytes(changed), signers, CLASSICAL.by_id)


def test_every_truncation_and_an_extension_are_refused() -> None:
    data = sealed(CLASSICAL.opening.public).data
    for length in range(len(data)):
        with pytest.raises((Rejected, Untrusted)):
            open_sealed(data[:length], signers, CLASSICAL.by_id)
    with pytest.raises(Rejected):
        open_sealed(data + b"\0", signers, CLASSICAL.by_id)


def thawed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [thawed(v) for v in value]
    return dict(value) if hasattr(value, "items") else value


Change = Callable[[dict[str, Any]], object]


def resigned(change: Change) -> bytes:
    """An envelope whose gateway itself signed something wrong: `change` edits header and layers."""
    protected, _, inner, _ = cbor2.loads(sealed().data).value
    parts = {"header": dict(cbor2.loads(protected)), "inner": thawed(cbor2.loads(inner).value)}
    change(parts)
    again = encode(parts["header"])
    return cose.sign1(again, encode(CBORTag(96, parts["inner"])), GATEWAY.signing)


@pytest.mark.parametrize("field", [1, 3, 4, "gateway", "outbox", "sequence", "sent", "previous"])
def test_a_missing_header_field_is_rejected(field: object) -> None:
    with pytest.raises(Rejected):
        open_sealed(resigned(lambda p: p["header"].pop(field)), signers, BRIDGE.by_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (1, -7),
        (2, ["sequence"]),
        (3, "application/vnd.kiteline.receipt+cbor"),
        (4, "kid"),
        ("gateway", 1),
        ("outbox", "x"),
        ("sequence", 0),
        ("sequence", 2**63 - 1),
        ("sequence", True),
        ("sent", "2026"),
        ("previous", b"short"),
    ],
)
def test_a_wrong_header_field_is_rejected(field: object, value: object) -> None:
    with pytest.raises(Rejected):
        open_sealed(resigned(lambda p: p["header"].update({field: value})), signers, BRIDGE.by_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [("gateway", "gw-2"), ("sequence", 4), ("outbox", UUID(int=8)), ("previous", b"\1" * 32)],
)
def test_content_moved_under_another_header_does_not_open(field: str, value: object) -> None:
    def any_signer(_: str) -> VerifyKey:
        return GATEWAY.signing.public

    with pytest.raises(Untrusted):
        open_sealed(resigned(lambda p: p["header"].update({field: value})), any_signer, BRIDGE.by_id)


def edit_inner(index: int, value: object) -> Change:
    return lambda p: p["inner"].__setitem__(index, value)


def edit_recipient(index: int, value: object) -> Change:
    return lambda p: p["inner"][3][0].__setitem__(index, value)


@pytest.mark.parametrize(
    "change",
    [
        edit_inner(0, encode({1: 1})),
        edit_inner(0, 7),
        edit_inner(1, {}),
        edit_inner(1, {5: b"short"}),
        edit_inner(2, "text"),
        edit_inner(3, []),
        edit_inner(3, "x"),
        edit_inner(3, [[b"", {}, b""]]),
        edit_recipient(0, encode({1: 999, 4: b"k"})),
        edit_recipient(0, encode({1: -65793})),
        edit_recipient(0, encode([1])),
        edit_recipient(1, {-4: b"short"}),
        edit_recipient(2, b"short"),
    ],
)
def test_a_wrong_inner_layer_is_rejected(change: Change) -> None:
    with pytest.raises(Rejected):
        open_sealed(resigned(change), signers, BRIDGE.by_id)


def test_a_mixture_is_rejected_when_opening() -> None:
    other = cbor2.loads(cbor2.loads(sealed(CLASSICAL.opening.public).data).value[2]).value[3][0]
    with pytest.raises(Rejected, match="mixes"):
        open_sealed(resigned(lambda p: p["inner"][3].append(other)), signers, BRIDGE.by_id)


def test_unknown_gateway_and_foreign_key_are_untrusted() -> None:
    with pytest.raises(Untrusted, match="no gateway"):
        read_header(resigned(lambda p: p["header"].update(gateway="gw-9")), signers)
    foreign = seal(PAYLOAD, HEADER, SigningKey.generate(), [BRIDGE.opening.public])
    with pytest.raises(Untrusted, match="another signing key"):
        open_sealed(foreign.data, signers, BRIDGE.by_id)


def test_a_header_that_breaks_its_form_is_not_sealed() -> None:
    for wrong in (
        EnvelopeHeader("gw-1", UUID(int=9), 0, NOW, FIRST_PREVIOUS),
        EnvelopeHeader("gw-1", UUID(int=9), 1, NOW.replace(tzinfo=None), FIRST_PREVIOUS),
        EnvelopeHeader("gw-1", UUID(int=9), 1, NOW, b""),
    ):
        with pytest.raises(Rejected):
            seal(PAYLOAD, wrong, GATEWAY.signing, [BRIDGE.opening.public])


def test_sealing_twice_never_repeats_a_key_or_nonce() -> None:
    first, second = sealed(), sealed()
    assert first.digest != second.digest
    nonces = {cbor2.loads(cbor2.loads(s.data).value[2]).value[1][5] for s in (first, second)}
    assert len(nonces) == 2


def test_algorithm_numbers_are_configurable() -> None:
    numbers = {Kem.MLKEM768_X25519: 57, Kem.X25519: 50}
    one = seal(PAYLOAD, HEADER, GATEWAY.signing, [BRIDGE.opening.public], numbers)
    assert open_sealed(one.data, signers, BRIDGE.by_id, numbers).payload == PAYLOAD
    with pytest.raises(Rejected, match="unknown algorithm"):
        open_sealed(one.data, signers, BRIDGE.by_id)


def test_chain_verdicts() -> None:
    assert chain_verdict(None, b"a") is Chain.NEW
    assert chain_verdict(b"a", b"a") is Chain.REPEATED
    assert chain_verdict(b"a", b"b") is Chain.FORKED


def test_keys_survive_their_files_and_show_no_secret() -> None:
    for keys, kind in (
        (GATEWAY, GatewayKeys),
        (GATEWAY.public, GatewayPublic),
        (BridgeKeys(BRIDGE.opening, BRIDGE.receipts, BRIDGE.messages, (CLASSICAL.opening,)), BridgeKeys),
        (CLASSICAL.public, BridgePublic),
    ):
        assert load_keys(dump_keys(keys), kind) == keys
        assert GATEWAY.signing.seed.hex() not in repr(keys)
        assert repr(BRIDGE.opening.seed) not in repr(keys)


def test_wrong_key_files_are_named() -> None:
    with pytest.raises(Misconfigured, match="GatewayKeys"):
        load_keys(dump_keys(BRIDGE), GatewayKeys)
    for data in (b"", b"\xa0", encode([1]), encode({"kiteline": "x"})):
        with pytest.raises(Misconfigured):
            load_keys(data, BridgePublic)
    short = encode({"kiteline": "GatewayPublic", "signing": bytes(31), "sealing": ["x25519", bytes(32)]})
    with pytest.raises(Misconfigured):
        load_keys(short, GatewayPublic)
    with pytest.raises(Misconfigured, match="enrol it again"):
        _ = SealKey(Kem.MLKEM768_X25519, bytes(7)).object
