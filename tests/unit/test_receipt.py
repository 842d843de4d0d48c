"""Receipts and downlink messages."""

import datetime as dt
from uuid import UUID

import pytest

from wire_format import cose
from wire_format.canonical import encode
from wire_format.downlink import (
    DownlinkHeader,
    ResendFrom,
    SeenByCareTeam,
    UnknownMessage,
    open_downlink,
    seal_downlink,
)
from wire_format.errors import Rejected, Untrusted
from wire_format.keys import BridgeKeys, GatewayKeys, SigningKey
from wire_format.receipt import (
    MAX_RANGES,
    Receipt,
    SettledRange,
    Verdict,
    coalesce,
    issue,
    range_digest,
    sign_receipt,
    verify_receipt,
)

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
BRIDGE, GATEWAY = BridgeKeys.generate(), GatewayKeys.generate()
OUTBOX = UUID(int=4)


def digest(n: int) -> bytes:
    return bytes([n % 256]) * 32


def stored(*numbers: int) -> list[tuple[int, Verdict, bytes]]:
    return [(n, Verdict.STORED, digest(n)) for n in numbers]


def test_ranges_are_coalesced_whatever_the_order() -> None:
    settled = [*stored(5, 1, 2, 3, 2), (4, Verdict.QUARANTINED, digest(4))]
    assert coalesce(settled) == (
        SettledRange(first=1, last=3, verdict=Verdict.STORED, digest=range_digest(map(digest, (1, 2, 3)))),
        SettledRange(first=4, last=4, verdict=Verdict.QUARANTINED, digest=range_digest([digest(4)])),
        SettledRange(first=5, last=5, verdict=Verdict.STORED, digest=range_digest([digest(5)])),
    )


def test_a_receipt_is_verified() -> None:
    (receipt,) = issue("gw-1", OUTBOX, stored(1, 2), NOW)
    data = sign_receipt(receipt, BRIDGE.receipts)
    assert verify_receipt(data, BRIDGE.receipts.public) == receipt
    with pytest.raises(Untrusted):
        verify_receipt(data, BRIDGE.messages.public)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises((Rejected, Untrusted)):
            verify_receipt(bytes(changed), BRIDGE.receipts.public)


def test_a_fork_is_confirmed_apart_from_its_twin() -> None:
    receipts = issue("gw-1", OUTBOX, [*stored(7), (7, Verdict.FORKED, digest(8))], NOW)
    assert [[r.verdict for r in receipt.ranges] for receipt in receipts] == [
        [Verdict.STORED],
        [Verdict.FORKED],
    ]


def test_many_ranges_become_several_receipts() -> None:
    receipts = issue("gw-1", OUTBOX, stored(*range(1, 2 * MAX_RANGES + 4, 2)), NOW)
    assert [len(r.ranges) for r in receipts] == [MAX_RANGES, 2]


def test_a_receipt_that_contradicts_itself_is_refused() -> None:
    one = SettledRange(first=2, last=3, verdict=Verdict.STORED, digest=bytes(32))
    with pytest.raises(ValueError, match="overlap"):
        Receipt(gateway="g", outbox_id=OUTBOX, issued_at=NOW, ranges=(one, one))
    with pytest.raises(ValueError, match="before it begins"):
        SettledRange(first=3, last=2, verdict=Verdict.STORED, digest=bytes(32))
    protected = cose.protected_header("application/vnd.kiteline.receipt+cbor", BRIDGE.receipts, {})
    nonsense = cose.sign1(protected, encode({"gateway": "g"}), BRIDGE.receipts)
    with pytest.raises(Rejected, match="schema"):
        verify_receipt(nonsense, BRIDGE.receipts.public)


HEADER = DownlinkHeader("gw-1", 1, NOW, NOW + HOUR)


@pytest.mark.parametrize(
    "message",
    [
        SeenByCareTeam(alert_id=UUID(int=1), role="nurse", at=NOW),
        ResendFrom(outbox_id=OUTBOX, sequence=12),
        UnknownMessage("advice_of_a_later_version", {"x": 1}),
    ],
)
def test_a_message_reaches_its_gateway(message: SeenByCareTeam | ResendFrom | UnknownMessage) -> None:
    data = seal_downlink(message, HEADER, BRIDGE.messages, GATEWAY.opening.public)
    for now in (NOW, None):
        delivered = open_downlink(data, "gw-1", BRIDGE.messages.public, GATEWAY.opening, now)
        assert (delivered.header, delivered.message) == (HEADER, message)


def test_expired_misdirected_foreign_and_senseless_messages_are_refused() -> None:
    message = SeenByCareTeam(alert_id=UUID(int=1), role="nurse", at=NOW)
    data = seal_downlink(message, HEADER, BRIDGE.messages, GATEWAY.opening.public)
    key, signer = GATEWAY.opening, BRIDGE.messages.public
    with pytest.raises(Rejected, match="expired"):
        open_downlink(data, "gw-1", signer, key, NOW + HOUR)
    with pytest.raises(Rejected, match="gw-2"):
        open_downlink(data, "gw-2", signer, key, NOW)
    with pytest.raises(Rejected, match="not for any key"):
        open_downlink(data, "gw-1", signer, GatewayKeys.generate().opening, NOW)
    with pytest.raises(Untrusted):
        open_downlink(data, "gw-1", SigningKey.generate().public, key, NOW)
    for pair in (["resend_from", {"sequence": 0}], ["x"], "x"):
        protected = cose.protected_header(
            "application/vnd.kiteline.downlink+cbor",
            BRIDGE.messages,
            {"gateway": "gw-1", "sequence": 1, "issued": NOW, "expires": NOW + HOUR},
        )
        inner = cose.encrypt(encode(pair), [key.public], protected)
        with pytest.raises(Rejected):
            open_downlink(cose.sign1(protected, inner, BRIDGE.messages), "gw-1", signer, key, NOW)


def test_a_receipt_is_no_message_and_no_envelope() -> None:
    (receipt,) = issue("gw-1", OUTBOX, stored(1), NOW)
    data = sign_receipt(receipt, BRIDGE.messages)
    with pytest.raises(Rejected):
        open_downlink(data, "gw-1", BRIDGE.messages.public, GATEWAY.opening, NOW)


def test_one_number_is_never_twice_in_a_receipt() -> None:
    settled = [
        *stored(6, 7, 8),
        (7, Verdict.QUARANTINED, digest(70)),
        (7, Verdict.FORKED, digest(71)),
        (7, Verdict.FORKED, digest(72)),
    ]
    receipts = issue("gw-1", OUTBOX, settled, NOW)
    said = [(r.first, r.last, r.verdict, r.digest) for receipt in receipts for r in receipt.ranges]
    assert sorted(said) == sorted(
        [
            (6, 8, Verdict.STORED, range_digest(map(digest, (6, 7, 8)))),
            (7, 7, Verdict.QUARANTINED, range_digest([digest(70)])),
            (7, 7, Verdict.FORKED, range_digest([digest(71)])),
            (7, 7, Verdict.FORKED, range_digest([digest(72)])),
        ]
    )
