"""The bridge put together: what exists, who wakes whom, and what runs until it is told to end."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud_bridge.access.texts import offered, read_texts
from cloud_bridge.api.room import Door
from cloud_bridge.api.server import serve_page
from cloud_bridge.api.v1.door import Programs
from cloud_bridge.audit_head import say_heads
from cloud_bridge.config import Config, ConsentSection, InfluxSection, PageSection
from cloud_bridge.connectors.base import Connector
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.destinations import FHIR
from cloud_bridge.ingest import Ingest
from cloud_bridge.intake_loop import IntakeLoop
from cloud_bridge.mllp_listener import MllpListener
from cloud_bridge.page_links import PageLinks
from cloud_bridge.presence import PresenceLoop
from cloud_bridge.replies import Replies
from cloud_bridge.retention import forget_messages
from cloud_bridge.rules.programme import check_setting
from cloud_bridge.sharing_loop import SharingLoop
from cloud_bridge.steps import Step, StepObserver, nobody
from cloud_bridge.store.sql import SqlStore
from cloud_bridge.subscriber import BATCH, Subscriber
from cloud_bridge.work_orders import WorkOrders
from service_kit.key_files import read_private
from service_kit.log import Log
from service_kit.mqtt_line import MqttLine
from service_kit.notify import Notifier
from service_kit.signals import until_signalled
from wire_format.downlink import DownlinkHeader, Message, seal_downlink
from wire_format.keys import BridgeKeys, SealKey
from wire_format.topics import Channel, subscription

WORKS_WITHIN_S: Final = 60.0
OPEN_PAGE: Final = (
    'page.sign_in is "link": whoever enters sees every patient, no policy is asked and no read is on record. '
    "Take the line out, and add accounts with `cloud-bridge account add`, before a real patient is enrolled."
)


def utc_now() -> dt.datetime:
    """Return the hospital's time."""
    return dt.datetime.now(dt.UTC)


def open_store(config: Config, keys: BridgeKeys) -> SqlStore:
    """Open the record of this bridge."""

    def sealer(message: Message, header: DownlinkHeader, recipient: SealKey) -> bytes:
        return seal_downlink(message, header, keys.messages, recipient)

    consent = config.consent or ConsentSection()
    texts = read_texts(consent.texts)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    claim_lasts = dt.timedelta(seconds=config.claim_s)
    return SqlStore(
        config.database_url,
        sealer,
        config.destinations,
        config.staff_language,
        claim_lasts,
        zone=config.zone,
        consent_needed=config.consent_needed,
        duty=config.duty,
        texts=texts,
        offered=offered(texts, consent.offered),
    )


@dataclass(slots=True)
class Bridge:
    """The parts of one bridge. What must outlive it is in the store, nowhere else."""

    config: Config
    store: SqlStore
    log: Log
    line: MqttLine
    subscriber: Subscriber
    intake: IntakeLoop
    replies: Replies
    deliveries: DeliveryLoop
    work_orders: WorkOrders | None
    acknowledged: Callable[[], None]
    presence: PresenceLoop
    sharing: SharingLoop
    listener: MllpListener | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        notifier = Notifier.from_environment()
        self.log.info("bridge_started")
        if self.config.page_is_open:
            self.log.warning("page_without_accounts", reason=OPEN_PAGE)
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in self._work():
                    tasks.create_task(work)
                tasks.create_task(notifier.feed(self._works))
                notifier.send("READY=1")
        finally:
            notifier.send("STOPPING=1")
            self.store.close()
            self.log.info("bridge_ended")

    def _work(self) -> list[Coroutine[Any, Any, None]]:
        work: list[Coroutine[Any, Any, None]] = [
            self.line.run(),
            self.subscriber.run(),
            self.intake.run(),
            self.replies.run(),
            self.deliveries.run(),
            self.presence.run(),
            self.sharing.run(),
            say_heads(self.store.access.head, self.log),
            forget_messages(self.store.hl7_messages.forget, utc_now, self.log),
        ]
        if self.work_orders is not None:
            work.append(self.work_orders.run())
        if self.listener is not None:
            work.append(self.listener.run())
        if self.config.influx is not None:
            work.append(_sink(self.store, self.config.influx, self.log))
        if self.config.page is not None:
            work.append(self._serve(self.config.page))
        return work

    def _serve(self, section: PageSection) -> Coroutine[Any, Any, None]:
        oidc = section.oidc
        return serve_page(
            section.port,
            self.store.alerts,
            PageLinks(self.config.state / "page-links").redeem,
            self.acknowledged,
            ZoneInfo(self.config.zone),
            self.store.access if section.sign_in == "accounts" else None,
            programs=Programs(self.store.alerts, self.store.listings, self.store.tokens),
            door=None if oidc is None else Door(oidc.provider(section.port, utc_now, self.log), oidc.local),
        )

    def _works(self) -> bool:
        """Tell whether the intake loop turned, and reached the store, lately."""
        return time.monotonic() - self.intake.looked_at < WORKS_WITHIN_S


@dataclass(slots=True)
class _Wakes:
    """Who is woken when something was stored, or when the line came up."""

    replies: Replies | None = None
    deliveries: DeliveryLoop | None = None

    def stored(self) -> None:
        self.line_up()
        if self.deliveries is not None:
            self.deliveries.wake()

    def line_up(self) -> None:
        if self.replies is not None:
            self.replies.wake()


def build(config: Config, log: Log, connectors: dict[str, Connector], observer: StepObserver) -> Bridge:
    """Put a bridge together; raises `Misconfigured` for what a human must correct first."""
    keys = read_private(config.keys.bridge, BridgeKeys)
    store = open_store(config, keys)
    for own in store.registry.own_parameters():
        check_setting(own)
    for version in sorted({version for version, _, other in store.access.versions() if other}):
        # The version is refused from now on; what homes send must not wait until the file is mended.
        log.error("consent_text_changed", version=version)
    store.deliveries.needs_changed(utc_now())
    wakes = _Wakes()
    ingest = Ingest(store.intake, store.registry, keys.by_id, utc_now, observer)
    deliveries = DeliveryLoop(store.deliveries, connectors, utc_now, observer, log=log)
    intake = IntakeLoop(store.intake, ingest, utc_now, wakes.stored, log)
    subscriber = Subscriber(store.intake, utc_now, log, intake.wake, wakes.line_up, observer)
    replies = Replies(store.outgoing, subscriber.publish, keys.receipts, utc_now, log, observer)

    wakes.replies, wakes.deliveries = replies, deliveries

    def acknowledged() -> None:
        observer(Step.ACKNOWLEDGEMENT_STORED, {})
        wakes.stored()

    presence = PresenceLoop(store.presence, config.site, utc_now, log)
    subscriber.line = line = _line(config, subscriber, presence, log)
    orders = None
    if config.fhir is not None:
        orders = WorkOrders(
            store.alerts,
            store.first_visits,
            connectors[FHIR],
            utc_now,
            interval_s=config.fhir.poll_s,
            log=log,
            on_acknowledged=acknowledged,
        )
    listener = _listener(config, store, intake, wakes, log)
    return Bridge(
        config,
        store,
        log,
        line,
        subscriber,
        intake,
        replies,
        deliveries,
        orders,
        acknowledged,
        presence,
        SharingLoop(store.sharing, utc_now, replies.wake, log),
        listener,
    )


def _listener(
    config: Config, store: SqlStore, intake: IntakeLoop, wakes: _Wakes, log: Log
) -> MllpListener | None:
    if config.mllp is None or config.discharge is None:
        return None
    if config.mllp.tls is not None:
        config.mllp.tls.context()  # what cannot be used is said before anything runs
    terms, defaults = config.discharge.terms(config.zone), config.discharge.defaults()

    def taken() -> None:
        intake.wake()
        wakes.stored()

    return MllpListener(config.mllp, store.hl7_messages, terms, defaults, utc_now, taken, log)


async def run_bridge(config: Config, log: Log, *, observer: StepObserver = nobody) -> None:
    """Run a bridge until SIGTERM or SIGINT; ends cleanly then."""
    async with AsyncExitStack() as stack:
        connectors = {
            one.destination: await stack.enter_async_context(one.connector()) for one in config.follow_up
        }
        await until_signalled(build(config, log, connectors, observer).run())


def _sink(store: SqlStore, section: InfluxSection, log: Log) -> Coroutine[Any, Any, None]:
    # Its client is a fifth of what the bridge loads, and few use it.
    from cloud_bridge.store.influx import InfluxSink  # noqa: PLC0415 - as said

    sink = InfluxSink(
        store.engine,
        url=str(section.url),
        organization=section.organization,
        bucket=section.bucket,
        token=section.token(),
        log=log,
    )
    return sink.run()


def _line(config: Config, subscriber: Subscriber, presence: PresenceLoop, log: Log) -> MqttLine:
    return MqttLine(
        config.broker.broker(),
        f"kiteline-bridge-{config.site}",
        subscriptions=[subscription(config.site, Channel.UP)],
        will=None,
        events=subscriber,
        log=log,
        receive_maximum=BATCH,
        notices=(subscription(config.site, Channel.STATUS), presence.notice),
    )
