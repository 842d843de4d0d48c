"""The agent put together: what exists, who knows whom, and what runs until it is told to end."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from device_drivers.link import Sighting
from edge_agent.adapter_keeper import Load
from edge_agent.ble_link import BleRadio
from edge_agent.cables import Cables
from edge_agent.clock import GatewayClock, kernel_uncertainty, system_boot_id, vouched
from edge_agent.config import Config, SerialSection, VirtualRadio
from edge_agent.control import Control, RadioHealth
from edge_agent.control_line import CONTROL, Message
from edge_agent.home import Home
from edge_agent.nearby import Nearby
from edge_agent.outbox import Outbox
from edge_agent.pairing import Devices
from edge_agent.pairing_desk import PairingDesk
from edge_agent.profile_shelf import FOLDER, Shelf
from edge_agent.publisher import Gateway, Publisher
from edge_agent.radio_host import RadioHost
from edge_agent.recording import NO_TAP, Tap
from edge_agent.retransmission import Schedule
from edge_agent.scanner import Scanner
from edge_agent.serial_visit import SerialVisitor
from edge_agent.sharing import Sharing
from edge_agent.sink import GatewayVoice, Sealer
from edge_agent.steps import Step, StepObserver, nobody
from edge_agent.visit import Visitor
from service_kit import key_files
from service_kit.log import Log
from service_kit.mqtt_line import Letter, MqttLine
from service_kit.notify import Notifier
from service_kit.signals import until_signalled
from wire_format.errors import Misconfigured, Unreachable
from wire_format.keys import BridgePublic, GatewayKeys, PublisherPublic
from wire_format.statements import GatewayEventKind
from wire_format.status import Presence
from wire_format.topics import Channel

VIRTUAL_RADIO: Final = "virtual_home.bleak_backend:VirtualRadio"
"""The one place that knows of another radio than Linux's, loaded only if the configuration says so."""

HOUSEKEEPING_S: Final = 5.0
WORKS_WITHIN_S: Final = 60.0
_FORGET_EVERY: Final = 720  # rounds of housekeeping: an hour

Keep = Callable[[Scanner, Load, Callable[[GatewayEventKind, str], object]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Backends:
    """What bleak is to run on; None is what bleak itself chooses on Linux: BlueZ.

    `keep` runs beside the scan and looks after the adapter; `health` is what it knows of it.
    """

    host: RadioHost
    scanner: Any = None
    client: Any = None
    close: Callable[[], Awaitable[None]] | None = None
    keep: Keep | None = None
    health: Callable[[], Message] = dict


async def open_radio(config: Config, log: Log) -> Backends:
    """Return BlueZ, or the virtual radio that the configuration names."""
    if not isinstance(config.radio, VirtualRadio):
        # Each radio's libraries take megabytes: a gateway loads those of its own.
        from edge_agent.bluez_host import BluezHost  # noqa: PLC0415 - see above

        host = BluezHost.on_system_bus(log)
        return Backends(host, keep=host.run, health=host.health)
    module, _, name = VIRTUAL_RADIO.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise Misconfigured(
            'radio.virtual needs the demo\'s packages: install kiteline[demo], or write radio = "bluez".'
        ) from error
    bonds = config.radio.bonds or config.state / "virtual-bonds.json"
    try:
        radio = await kind.open(config.radio.virtual, bonds)
    except OSError as error:
        raise Unreachable(
            f"The virtual radio {config.radio.virtual} does not answer: start it first."
        ) from error
    return Backends(radio, radio.scanner, radio.client, radio.close)


def software_version() -> str:
    """Return the version that readings name as their decoder's."""
    try:
        return version("kiteline")
    except PackageNotFoundError:
        return "unreleased"


@dataclass(slots=True)
class Agent:
    """The parts of one agent. What must outlive it is in the outbox and the file of devices, nowhere else."""

    config: Config
    outbox: Outbox
    clock: GatewayClock
    voice: GatewayVoice
    publisher: Publisher
    line: MqttLine
    home: Home
    log: Log
    cables: SerialVisitor | None = None
    tap: Tap = NO_TAP
    shelf: Shelf | None = None
    _said: int = 0
    _rounds: int = 0
    _looked_after_at: float = 0.0

    async def run(self, backends: Backends) -> None:
        """Run until cancelled; end with a word to the hospital."""
        notifier = Notifier.from_environment()
        self._begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._begin_radio(tasks, backends)
                tasks.create_task(self._line())
                tasks.create_task(self.publisher.run())
                if self.cables is not None:
                    self.cables.open = self.tap.cables(self.cables.open)
                    tasks.create_task(self.cables.run(_spawning(tasks)))
                tasks.create_task(self._housekeeping())
                tasks.create_task(notifier.feed(self._works))
                notifier.send("READY=1")
        finally:
            notifier.send("STOPPING=1")
            self.outbox.close()

    def _begin_radio(self, tasks: asyncio.TaskGroup, backends: Backends) -> None:
        """Listen, visit, and answer to `edge-agent pair`; the adapter's keeper is BlueZ's alone."""
        scanner, nearby = Scanner(backends.scanner, self.log), Nearby()
        connect_s = self.config.visits.connect_s
        radio = BleRadio(backends.client, scanner, connect_s, backends.host, self.home.observer)
        stale = self.config.pairing.remove_stale_bonds
        visitor = Visitor(self.home, self.tap.radio(radio), _spawning(tasks), remove_stale_bonds=stale)

        def heard(sighting: Sighting, handle: object) -> None:
            nearby.heard(sighting, handle)
            visitor.heard(sighting, handle)

        scanner.heard = self.tap.heard(heard)
        desk = PairingDesk(self.home, radio, visitor, nearby)
        control = Control(desk, RadioHealth(scanner, visitor, backends.health), self.log)
        tasks.create_task(scanner.run())
        tasks.create_task(control.serve(self.config.state / CONTROL))
        if backends.keep is not None:
            tasks.create_task(backends.keep(scanner, visitor, self.voice.tell))

    async def _line(self) -> None:
        """Hold the line; when it is time to end, say goodbye while it still holds."""
        holding = asyncio.create_task(self.line.run())
        try:
            await asyncio.shield(holding)
        finally:
            topic = self.publisher.gateway.topic(Channel.STATUS)
            await self.line.say_goodbye(Letter(topic, self.publisher.status(Presence.OFFLINE)))
            holding.cancel()
            await asyncio.wait([holding])

    def _begin(self) -> None:
        self.log.info("agent_started", version=self.home.software, boot_id=self.clock.boot_id)
        self.voice.tell(GatewayEventKind.STARTED)
        self._say_profiles()
        if self.outbox.opened_chain:
            self.voice.tell(GatewayEventKind.OUTBOX_OPENED)
        self._look_after()

    def _say_profiles(self) -> None:
        if self.shelf is None:
            return
        for reason in self.shelf.refusals:
            self.log.error("profiles_refused", reason=reason)
            self.voice.tell(GatewayEventKind.PROFILES_REFUSED, reason[:500])
        if self.shelf.taken is not None:
            version, count = self.shelf.taken.version, len(self.home.catalogue.profiles)
            self.log.info("profiles_changed", version=version, count=count)
            self.voice.tell(GatewayEventKind.PROFILES_CHANGED, f"version {version}, {count} profiles")

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                self._look_after()
            except Unreachable as error:
                self.log.warning("housekeeping_failed", reason=str(error))

    def _look_after(self) -> None:
        for failure in self.outbox.failures[self._said :]:
            self.log.error("card_failed", reason=failure)
        self._said = len(self.outbox.failures)
        if self.voice.anchor_once():
            self.log.info("time_known", boot_id=self.clock.boot_id)
        if self._rounds % _FORGET_EVERY == 0 and self.clock.utc_if_known() is not None:
            self.outbox.forget()
        self._rounds += 1
        self._looked_after_at = time.monotonic()

    def _works(self) -> bool:
        """Tell whether the loop turns and the outbox could be read and written lately."""
        return time.monotonic() - self._looked_after_at < WORKS_WITHIN_S


def build(config: Config, log: Log, observer: StepObserver = nobody) -> Agent:
    """Put an agent together; raises `Misconfigured` for what a human must correct first."""
    keys = key_files.read_private(config.keys.gateway, GatewayKeys)
    hospital = key_files.read_public(config.keys.hospital, BridgePublic)
    gateway = Gateway(config.site, config.gateway, software_version(), keys, hospital)
    clock = _clock(config)
    watch = _Watch(observer)
    outbox = Outbox(
        config.state / "outbox", config.gateway, limits=config.outbox.limits(), utc=clock.utc, observer=watch
    )
    sharing = Sharing(hospital.sealing, clock.utc_if_known)
    sharing.recall(outbox.heard())
    sealer = Sealer(keys.signing, (hospital.sealing,), sharing)
    voice = GatewayVoice(outbox, sealer, clock)
    schedule = Schedule(config.retransmission.pace())
    publisher = Publisher(gateway, outbox, schedule, voice, clock, log, time.monotonic, watch)
    publisher.sharing = sharing
    line = _line(config, gateway, publisher, clock, log)
    publisher.line = line
    watch.publisher = publisher
    shelf = shelf_of(config)
    home = Home(
        gateway.software,
        clock,
        config.clock.zone_offset_minutes,
        outbox,
        sealer,
        voice,
        Devices.open(config.state / "devices.json", config.device, config.adopt),
        shelf.catalogue(),
        config.visits,
        log,
        watch,
    )
    return Agent(config, outbox, clock, voice, publisher, line, home, log, _cables(config, home), shelf=shelf)


def shelf_of(config: Config, *, take: bool = True) -> Shelf:
    """Return the shelf of device profiles; raises `Misconfigured` if the key that is named cannot be read."""
    path = config.profiles.key
    key = None if path is None else key_files.read_public(path, PublisherPublic).profiles
    # A profile that a cable names is meant to be used.
    enabled = (*config.profiles.enable, *(c.profile for c in config.cable if c.profile))
    return Shelf(config.state / FOLDER, key, enabled, take)


async def run_agent(config: Config, log: Log, *, observer: StepObserver = nobody) -> None:
    """Run an agent until SIGTERM or SIGINT; ends cleanly then."""
    agent = build(config, log, observer)
    backends = await open_radio(config, log)
    try:
        await until_signalled(agent.run(backends))
    finally:
        if backends.close is not None:
            await backends.close()
    log.info("agent_ended")


def _cables(config: Config, home: Home) -> SerialVisitor | None:
    """Return the visitor of serial meters; None where nothing serial is configured."""
    if config.serial is None and not config.cable:
        return None
    cables = Cables(config.cable, home.catalogue, adopting=None not in {config.adopt, config.serial})
    return SerialVisitor(home, cables, config.serial or SerialSection())


def _spawning(tasks: asyncio.TaskGroup) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what starts a visit; none begins once the agent ends, whatever is heard in that instant."""

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        try:
            tasks.create_task(work)
        except RuntimeError:  # the group is being ended
            work.close()

    return spawn


class _Watch:
    """Passes steps on to the observer, and wakes the publisher for what was committed."""

    def __init__(self, observer: StepObserver) -> None:
        self._observer = observer
        self.publisher: Publisher | None = None

    def __call__(self, step: Step, facts: Mapping[str, object]) -> None:
        self._observer(step, facts)
        if step is Step.OUTBOX_COMMITTED and self.publisher is not None:
            self.publisher.wake()


def _clock(config: Config) -> GatewayClock:
    bound = config.clock.vouched_uncertainty_ms
    return GatewayClock(
        boot_id=config.clock.boot_id or system_boot_id(),
        uncertainty=kernel_uncertainty if bound is None else vouched(bound),
    )


def _line(config: Config, gateway: Gateway, publisher: Publisher, clock: GatewayClock, log: Log) -> MqttLine:
    return MqttLine(
        config.broker.broker(),
        f"kiteline-{config.site}-{config.gateway}",
        subscriptions=[gateway.topic(Channel.RECEIPT), gateway.topic(Channel.DOWN)],
        will=lambda: Letter(gateway.topic(Channel.STATUS), gateway.status(Presence.LOST, clock.now().utc)),
        events=publisher,
        log=log,
    )
