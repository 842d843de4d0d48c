"""What can go wrong with a recorded session of any device: cut, truncated, repeated, all ones, re-clocked."""

import datetime as dt
from collections.abc import Iterator

from device_drivers.capture import Exchange, Kind, Session
from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.profile import DeviceProfile, long_uuid

SAID = (Kind.NOTIFY, Kind.RECEIVED, Kind.ADVERT)


def packets(session: Session) -> list[int]:
    """Where in the exchange the device says something."""
    return [i for i, one in enumerate(session.exchange) if one.kind in SAID]


def _with(session: Session, index: int, *instead: Exchange) -> Session:
    exchange = (*session.exchange[:index], *instead, *session.exchange[index + 1 :])
    return session.model_copy(update={"exchange": exchange})


def _bytes_of(one: Exchange) -> bytes:
    """The bytes of a packet; of an advertisement its longest part."""
    parts = [*one.service_data.values(), *one.manufacturer_data.values(), one.hex or ""]
    return bytes.fromhex(max(parts, key=len))


def _saying(one: Exchange, data: bytes) -> Exchange:
    if one.kind is not Kind.ADVERT:
        return one.model_copy(update={"hex": data.hex()})
    old = _bytes_of(one).hex()
    service = {k: data.hex() if v == old else v for k, v in one.service_data.items()}
    company = {k: data.hex() if v == old else v for k, v in one.manufacturer_data.items()}
    return one.model_copy(update={"service_data": service, "manufacturer_data": company})


def truncated(session: Session) -> Iterator[tuple[bytes, Session]]:
    """Each packet cut off at each byte: what is left of it, and the session with it."""
    for index in packets(session):
        one = session.exchange[index]
        whole = _bytes_of(one)
        for length in range(len(whole)):
            yield whole[:length], _with(session, index, _saying(one, whole[:length]))


def repeated(session: Session) -> Iterator[Session]:
    """Each packet said twice."""
    for index in packets(session):
        one = session.exchange[index]
        yield _with(session, index, one, one)


def overwritten(session: Session) -> Iterator[tuple[bytes, Session]]:
    """Each packet all ones."""
    for index in packets(session):
        one = session.exchange[index]
        ones = b"\xff" * len(_bytes_of(one))
        yield ones, _with(session, index, _saying(one, ones))


def with_clock(session: Session, profile: DeviceProfile, shown: dt.datetime | None) -> Session | None:
    """The session with another time on the device's clock, or nothing sensible; None if it shows none."""
    name = profile.clock.characteristic
    if name is None or not profile.clock.readable:
        return None
    layout = CLOCK_LAYOUTS[profile.clock.layout]
    changed = False
    exchange = []
    for one in session.exchange:
        shows = one.kind in {Kind.READ, Kind.NOTIFY} and one.on is not None
        if shows and long_uuid(one.on or "") == long_uuid(name):
            data = b"\xff" * len(one.data) if shown is None else layout.encode(shown, 480)
            exchange.append(one.model_copy(update={"hex": data.hex()}))
            changed = True
        else:
            exchange.append(one)
    return session.model_copy(update={"exchange": tuple(exchange)}) if changed else None
