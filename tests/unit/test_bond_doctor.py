"""The bond doctor over tables of attempts: which side forgot, or whether the radio is busy."""

import pytest

from device_drivers.link import AttError, LinkLost
from edge_agent.bond_doctor import (
    REMEMBERED,
    Attempt,
    BondDoctor,
    LinkFailed,
    Sign,
    Verdict,
    diagnose,
    sign_of,
)

WORKED, REFUSED, DROPPED = Sign.WORKED, Sign.KEY_REFUSED, Sign.DROPPED
BUSY, SILENT, MISSING = Sign.BUSY, Sign.SILENT, Sign.BOND_MISSING


def attempts(*signs: Sign, held: bool = True, every: float = 15.0) -> list[Attempt]:
    return [Attempt(sign, number * every, held) for number, sign in enumerate(signs)]


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        ([], [], Verdict.SOUND),
        (attempts(REFUSED, REFUSED, WORKED), [], Verdict.SOUND),
        (attempts(SILENT, SILENT, SILENT, SILENT), [], Verdict.RETRY),
        (attempts(BUSY, BUSY, BUSY, BUSY), [], Verdict.RETRY),
        # A key that is refused once may be a connection lost at a bad moment; twice is the device's word.
        (attempts(REFUSED), [], Verdict.RETRY),
        (attempts(REFUSED, SILENT, REFUSED), [], Verdict.DEVICE_FORGOT),
        (attempts(REFUSED, WORKED, REFUSED), [], Verdict.RETRY),
        (attempts(REFUSED, REFUSED, held=False), [], Verdict.PAIRING_REFUSED),
        # A dead key is replayed: dropped again and again, while other devices work or none is there.
        (attempts(DROPPED, DROPPED), [], Verdict.RETRY),
        (attempts(DROPPED, DROPPED, DROPPED), [], Verdict.DEVICE_FORGOT),
        (attempts(DROPPED, REFUSED, DROPPED), [], Verdict.DEVICE_FORGOT),
        (attempts(DROPPED, DROPPED, DROPPED), attempts(WORKED, WORKED), Verdict.DEVICE_FORGOT),
        (attempts(DROPPED, DROPPED, DROPPED), attempts(DROPPED, WORKED), Verdict.DEVICE_FORGOT),
        # The same words from a busy radio: too quick, or others are dropped too, or no bond is at stake.
        (attempts(DROPPED, DROPPED, DROPPED, every=1), [], Verdict.RETRY),
        (attempts(DROPPED, DROPPED, DROPPED), attempts(DROPPED, DROPPED, WORKED), Verdict.BUSY_RADIO),
        (attempts(DROPPED, DROPPED, DROPPED), attempts(BUSY), Verdict.BUSY_RADIO),
        (attempts(DROPPED, DROPPED, DROPPED, held=False), [], Verdict.RETRY),
        (attempts(DROPPED, DROPPED, WORKED, DROPPED), [], Verdict.RETRY),
        # What others did long before does not excuse this device.
        (attempts(WORKED, DROPPED, DROPPED, DROPPED), attempts(DROPPED), Verdict.DEVICE_FORGOT),
        (attempts(MISSING), [], Verdict.GATEWAY_FORGOT),
        (attempts(MISSING, WORKED), [], Verdict.SOUND),
    ],
)
def test_the_verdict(own: list[Attempt], others: list[Attempt], verdict: Verdict) -> None:
    assert diagnose(own, others) is verdict
    assert verdict.is_lost == (verdict in {Verdict.DEVICE_FORGOT, Verdict.GATEWAY_FORGOT})


def test_devices_are_judged_apart_and_can_begin_anew() -> None:
    doctor = BondDoctor()
    for number in range(3):
        last = doctor.note("a", Attempt(DROPPED, number * 15.0, held=True))
        doctor.note("b", Attempt(WORKED, number * 15.0, held=True))
    assert last is Verdict.DEVICE_FORGOT
    doctor.forget("a")
    assert doctor.note("a", Attempt(DROPPED, 60, held=True)) is Verdict.RETRY
    for number in range(REMEMBERED * 2):
        assert doctor.note("c", Attempt(SILENT, number, held=True)) is Verdict.RETRY


@pytest.mark.parametrize(
    ("error", "held", "sign"),
    [
        (LinkFailed("gone", DROPPED), True, DROPPED),
        (AttError("a subscription", 0x05), True, REFUSED),
        (AttError("a subscription", 0x0F), True, REFUSED),
        (AttError("a subscription", 0x0F), False, SILENT),
        (AttError("a write", 0x80), True, SILENT),
        (LinkLost("gone"), True, SILENT),
        (ZeroDivisionError(), True, SILENT),
    ],
)
def test_what_an_error_says_of_the_bond(error: Exception, held: bool, sign: Sign) -> None:
    assert sign_of(error, held=held) is sign
