"""`edge-agent record`: one visit to a device as a capture, redacted. The reading itself goes its normal way.

A device that no profile fits is surveyed instead: looked at, and not changed (see `survey`).
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device_drivers.capture import Capture, Exchange, Kind, Origin, Session, summary, written
from device_drivers.catalogue import ADVERT_DRIVERS, Catalogue
from device_drivers.information import Information
from device_drivers.link import Sighting
from device_drivers.profile import DeviceProfile
from device_drivers.redaction import MODEL, Secrets, redacted
from device_drivers.rehearsal import rehearse
from edge_agent.app import Backends, build, open_radio, shelf_of, software_version
from edge_agent.ble_link import BleRadio
from edge_agent.config import Config
from edge_agent.conversation import Approach
from edge_agent.durable import replace
from edge_agent.pairing import Devices
from edge_agent.recording import DeviceTap, Notes
from edge_agent.scanner import Scanner
from edge_agent.steps import Step
from edge_agent.survey import survey
from edge_agent.writes_of_time import with_time_marked
from service_kit.log import Log
from wire_format.errors import Misconfigured, Unreachable
from wire_format.measurement import Measurement

UNKNOWN: Final = "unknown"
"""The profile that a capture names when none fits."""

MAKER: Final = "2A29"
FIRMWARE: Final = "2A26"
LISTEN_S: Final = 60.0

KEPT: Final = "Values, times and what the device calls itself are kept: look through the file, then share it."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded: which device, into which file, and how long it may take to be heard and read.

    `survey`: treat it as unknown although a profile fits. `others` are texts that are left out as well.
    """

    address: str
    to: Path
    within_s: float = 600
    survey: bool = False
    others: tuple[str, ...] = ()

    @property
    def on_cable(self) -> bool:
        """Whether it is a meter on a serial port, as /dev/ttyUSB0."""
        return self.address.startswith("/")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A session as it was, still with everything in it: it is redacted before it is written."""

    session: Session
    secrets: Secrets
    profile: DeviceProfile | None = None


async def record(config: Config, log: Log, wanted: Wanted) -> Recorded:
    """Wait for the device, and record one visit to it. Raises `Unreachable` if it does not come in time."""
    if wanted.to.exists():
        raise Misconfigured(f"{wanted.to} exists: a recording is never overwritten; name another file.")
    backends = await open_radio(config, log)
    try:
        here = _Here(config, backends, log, wanted)
        catalogue = shelf_of(config, take=False).catalogue()
        if wanted.on_cable:
            return await _visited(here, catalogue)
        sighting, handle = await _heard(here)
        if wanted.survey or catalogue.match(sighting) is None:
            return await _surveyed(here, sighting, handle)
        _must_be_ours(config, wanted)
        return await _visited(here, catalogue)
    finally:
        if backends.close is not None:
            await backends.close()


@dataclass(frozen=True, slots=True)
class _Here:
    config: Config
    backends: Backends
    log: Log
    wanted: Wanted


async def _heard(here: _Here) -> tuple[Sighting, object]:
    found: asyncio.Future[tuple[Sighting, object]] = asyncio.get_running_loop().create_future()

    def heard(sighting: Sighting, handle: object) -> None:
        if sighting.address == here.wanted.address and not found.done():
            found.set_result((sighting, handle))

    scanner = Scanner(here.backends.scanner, here.log, heard)
    async with _running(scanner):
        try:
            async with asyncio.timeout(here.wanted.within_s):
                return await found
        except TimeoutError:
            raise Unreachable(
                f"The device was not heard within {here.wanted.within_s:g} s: take a measurement with it, "
                "beside the gateway, and check its address."
            ) from None


@asynccontextmanager
async def _running(scanner: Scanner) -> AsyncIterator[None]:
    task = asyncio.create_task(scanner.run())
    try:
        yield
    finally:
        # Ended while it rests: a radio that is interrupted while it begins to scan may not recover.
        async with scanner.paused():
            task.cancel()
            await asyncio.wait([task])


def _must_be_ours(config: Config, wanted: Wanted) -> None:
    devices = Devices.open(config.state / "devices.json", config.device, config.adopt)
    if not devices.is_ours(wanted.address):
        raise Misconfigured(
            "This device is not one of this home: name it in a [[device]] of the configuration, or record it "
            "with --survey, which changes nothing on it."
        )


# --- a device that a profile fits: a normal visit ---


async def _visited(here: _Here, catalogue: Catalogue) -> Recorded:
    wanted = here.wanted
    tap, done = DeviceTap(wanted.address), asyncio.Event()
    profiles: list[str] = []

    def observer(step: Step, facts: Mapping[str, object]) -> None:
        profile = facts.get("profile")
        if step is Step.VISIT_ENDED and isinstance(profile, str) and _said_something(tap, catalogue, profile):
            profiles.append(profile)
            done.set()

    agent = build(here.config, here.log, observer)
    agent.tap = tap
    running = asyncio.create_task(agent.run(here.backends))
    ended = asyncio.create_task(done.wait())
    await asyncio.wait({running, ended}, timeout=wanted.within_s, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    if not done.is_set():
        if wanted.on_cable:
            raise Unreachable(
                f"No visit to a meter on {wanted.address} ended within {wanted.within_s:g} s: see that its "
                "[[cable]] is configured, and the meter on it and switched on."
            )
        raise Unreachable(f"The device was heard, but no visit to it ended within {wanted.within_s:g} s.")
    # A meter on a cable is not remembered by its port; no serial number of this home belongs into the file.
    serials = [d.identity.serial for d in agent.home.devices.known.values() if d.identity.serial]
    address = None if wanted.on_cable else wanted.address
    secrets = Secrets(address, serials=tuple(serials), others=wanted.others)
    return _session_of(tap, catalogue, profiles[0], agent.home.devices, secrets)


def _said_something(tap: DeviceTap, catalogue: Catalogue, profile: str) -> bool:
    if catalogue.named(profile).driver in ADVERT_DRIVERS:
        return bool(tap.adverts.taken)
    return bool(tap.visits and tap.visits[-1].taken)


def _session_of(
    tap: DeviceTap, catalogue: Catalogue, visited: str, devices: Devices, secrets: Secrets
) -> Recorded:
    notes = tap.visits[-1] if tap.visits else tap.adverts
    said = Information(None, _text(notes, MODEL), None, _text(notes, FIRMWARE), None)
    narrower = None if tap.sighting is None else catalogue.match(tap.sighting, said)
    profile = narrower or catalogue.named(visited)
    known = devices.known.get(tap.address)
    key = devices.bind_key(known) if known else None
    session = Session(
        id=f"recorded {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M}",
        origin=Origin.REAL,
        source=f"recorded with edge-agent {software_version()}",
        note="" if not notes.full else "The device said more than a recording keeps.",
        address=tap.address if profile.driver in ADVERT_DRIVERS else None,
        bind_key=None if key is None else key.hex(),
        consents=devices.consents(known) if known else {},
        exchange=with_time_marked(notes.exchange(), profile, dt.datetime.now(dt.UTC)),
    )
    return Recorded(session, secrets, profile)


def _text(notes: Notes, characteristic: str) -> str | None:
    data = next(
        (n.data for n in notes.taken if n.kind is Kind.READ and n.on == characteristic and n.data), None
    )
    return None if data is None else data.decode("utf-8", "replace").strip("\0 ")


# --- a device that no profile fits ---


async def _surveyed(here: _Here, sighting: Sighting, handle: object) -> Recorded:
    scanner = Scanner(here.backends.scanner, here.log)
    radio = BleRadio(here.backends.client, scanner, here.config.visits.connect_s, here.backends.host)
    notes = Notes()
    notes.advert(sighting)
    async with _running(scanner), AsyncExitStack() as stack:
        async with radio.silence():
            link = await stack.enter_async_context(radio.open(handle, Approach(bonding=False)))
        found = await survey(link, min(LISTEN_S, here.wanted.within_s), notes)
    session = Session(
        id=f"surveyed {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M}",
        origin=Origin.REAL,
        source=f"surveyed with edge-agent {software_version()}",
        note=f"Left alone, as they look like control points: {', '.join(found.left_alone) or 'none'}.",
        services=found.services,
        exchange=notes.exchange(),
    )
    return Recorded(session, Secrets(here.wanted.address, others=here.wanted.others))


# --- what is written and said ---


def write(recorded: Recorded, to: Path) -> dict[str, Any]:
    """Redact a session, write it as a capture, and return what is to be said of it."""
    profile = recorded.profile
    keep = () if profile is None else tuple(glob.split("*")[0] for glob in profile.match.names)
    session, said = redacted(recorded.session, recorded.secrets, keep)
    remarks = [] if profile is None else _changed(profile, recorded.session, session)
    redactions = f"Left out: {', '.join(said) or 'nothing was found to leave out'}."
    note = " ".join(filter(None, (session.note, redactions, *remarks)))
    session = session.model_copy(update={"note": note})
    name = UNKNOWN if profile is None else profile.name
    capture = Capture(
        format="kiteline-capture-1", profile=name, device=_device(session.exchange), sessions=(session,)
    )
    replace(to, written(capture).encode())
    return {
        "file": str(to),
        "profile": name,
        "device": capture.device,
        "events": len(session.exchange),
        "services": session.services,
        "left_out": list(said),
        "remarks": [
            *remarks,
            KEPT,
        ],
    }


def _changed(profile: DeviceProfile, before: Session, after: Session) -> list[str]:
    """Say if the recording without secrets is read otherwise: a checksum does not hold, a key is missing."""

    def read(session: Session) -> list[dict[str, Any]]:
        return [summary(r) for r in rehearse(profile, session).readings if isinstance(r, Measurement)]

    if read(before) == read(after):
        return []
    return ["What was left out changes what the driver reads: a maintainer must ask for it in another way."]


def _device(exchange: tuple[Exchange, ...]) -> str:
    said = {e.on: e.data.decode("utf-8", "replace").strip("\0 ") for e in exchange if e.kind is Kind.READ}
    return " ".join(filter(None, (said.get(MAKER), said.get(MODEL)))) or "a device that does not name itself"
