"""A slice of `make fuzz`: damaged packets give values or `MalformedPacket`, and damaged visits end."""

import signal
from collections import Counter
from collections.abc import Callable

import pytest

from device_drivers import rehearsal
from device_drivers.catalogue import ADVERT_DRIVERS, DRIVERS, SERIAL_DRIVERS, Catalogue
from device_drivers.driver import Visit
from device_drivers.link import GattLink
from tests.fuzz import decoders, guard, sessions
from tests.fuzz.decoders import fuzz, shapes, whole
from tests.fuzz.sessions import fuzz_sessions
from wire_format.errors import MalformedPacket, Rejected


def test_damaged_packets_are_values_or_malformed() -> None:
    found = fuzz(150_000, seed=7)
    assert found.total() == 150_000
    assert min(found["values"], found["malformed"]) > 10_000


def test_damaged_visits_end() -> None:
    found = fuzz_sessions(1500, seed=7)
    assert found["ended well"] + found["ended in an error"] == 1500
    assert min(found["ended well"], found["readings"], found["undecodable"]) > 100


def test_nothing_that_takes_bytes_is_left_out() -> None:
    names = {shape.__name__ for shape in shapes()}
    assert names >= {"BloodPressureMeasurement", "RecordAccess", "CurrentTime", "MedFloat"}
    used = {profile.driver for profile, _ in sessions.cases()}
    assert used == {profile.driver for profile in Catalogue().profiles.values()}
    assert used == {*DRIVERS, *SERIAL_DRIVERS, *ADVERT_DRIVERS}


@pytest.mark.parametrize("error", [IndexError, ZeroDivisionError, Rejected, MalformedPacket])
def test_a_decoder_that_raises_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(_data: bytes) -> object:
        raise error("x")

    monkeypatch.setattr(decoders, "targets", lambda: [("broken", broken)])
    if error is MalformedPacket:
        assert fuzz(10, seed=1) == Counter(malformed=10)
    else:
        with pytest.raises(AssertionError, match=f"broken of .* raised {error.__name__}"):
            fuzz(10, seed=1)


class Forgetful:
    """A value that is not what it was made of."""

    made = 0

    @classmethod
    def from_bytes(cls, _data: bytes) -> "Forgetful":
        return cls()

    def __bytes__(self) -> bytes:
        return b""


def endless(_data: bytes) -> object:
    while True:
        pass


@pytest.mark.parametrize(("door", "said"), [(whole(Forgetful), "another value"), (endless, "HangError")])
def test_a_value_that_changes_and_a_loop_without_end_are_found(
    monkeypatch: pytest.MonkeyPatch, door: Callable[[bytes], object], said: str
) -> None:
    monkeypatch.setattr(decoders, "targets", lambda: [("door", door)])
    monkeypatch.setattr(decoders, "breathe", lambda: guard.breathe(0.05))
    with pytest.raises(AssertionError, match=said):
        fuzz(10, seed=1)


class Careless:
    async def collect(self, link: GattLink, visit: Visit) -> None:
        raise IndexError(f"{len(link.characteristics())} {visit.number}")


class Stubborn:
    async def collect(self, link: GattLink, visit: Visit) -> None:
        while visit.number:
            link.characteristics()


class Silent:
    """It leaves a callback behind that fails."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        import asyncio  # noqa: PLC0415 - only here

        asyncio.get_running_loop().call_soon(lambda: link.characteristics() and 1 // (visit.number - 1))
        await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("driver", "said"), [(Careless, "IndexError"), (Stubborn, "HangError"), (Silent, "in a callback")]
)
def test_a_driver_that_does_what_none_may_do_is_found(
    monkeypatch: pytest.MonkeyPatch, driver: type[Careless], said: str
) -> None:
    monkeypatch.setattr(rehearsal, "driver_of", lambda _: driver())
    monkeypatch.setattr(sessions, "breathe", lambda: guard.breathe(0.1))
    with pytest.raises(AssertionError, match=said):
        fuzz_sessions(200, seed=1)


def test_no_hang_is_raised_where_a_lock_is_held_and_it_is_raised_after() -> None:
    def alarm() -> None:
        signal.raise_signal(signal.SIGVTALRM)

    noting = compile(
        "signal.raise_signal(signal.SIGVTALRM); went_on = True", "/lib/coverage/collector.py", "exec"
    )
    names = {"signal": signal}
    with guard.watched():
        exec(noting, names)  # noqa: S102 - written above
        assert names["went_on"]
        with pytest.raises(guard.HangError):
            alarm()
