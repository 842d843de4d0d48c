"""Signed webhook: any other follow-up system, and gateways that reach a phone (SMS, WeChat, Web Push)."""

import datetime as dt
import json
import ssl
from collections.abc import Callable, Collection

from cloud_bridge.connectors.base import (
    AlertOrder,
    Order,
    ReadingOrder,
    ReminderOrder,
    VisitOrder,
    WithdrawnReading,
)
from cloud_bridge.connectors.http_receiver import HttpConnector
from cloud_bridge.connectors.webhook_map import (
    Event,
    Sends,
    alert_event,
    message_events,
    reading_event,
    reminder_event,
    visit_event,
    withdrawn_event,
)
from cloud_bridge.connectors.webhook_signature import DELIVERY_HEADER, HEADER, sign


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class WebhookConnector(HttpConnector):
    """See `Connector`. `secrets`: the newest first; two while one is renewed."""

    def __init__(  # noqa: PLR0913 - a receiver has its address, its secrets and its wishes
        self,
        url: str,
        secrets: tuple[bytes, ...],
        sends: Collection[Sends],
        *,
        name: str,
        timeout_s: float = 10,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        super().__init__(name=name, timeout_s=timeout_s, tls=tls)
        self._url, self._secrets, self._sends, self._clock = url, secrets, frozenset(sends), clock

    async def deliver(self, order: Order) -> None:
        """See `Connector`."""
        for event in self._events(order):
            await self._post(event)

    def _events(self, order: Order) -> list[Event]:
        match order:
            case AlertOrder():
                told = [alert_event(order)] if Sends.ALERTS in self._sends else []
                return [*told, *(message_events(order) if Sends.MESSAGES in self._sends else [])]
            case VisitOrder():
                return [visit_event(order)] if Sends.ALERTS in self._sends else []
            case ReminderOrder():
                return [reminder_event(order)] if Sends.MESSAGES in self._sends else []
            case _ if Sends.READINGS not in self._sends:
                return []
            case ReadingOrder():
                event = reading_event(order)
                return [] if event is None else [event]
            case WithdrawnReading():
                return [withdrawn_event(order.measurement_id)]

    async def _post(self, event: Event) -> None:
        body = json.dumps(event.body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            DELIVERY_HEADER: str(event.event_id),
            HEADER: sign(self._secrets, body, int(self._clock().timestamp())),
        }
        await self.send("POST", self._url, body, headers)
