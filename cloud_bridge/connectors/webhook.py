"""Signed webhook: any other follow-up system, and gateways that reach a phone (SMS, WeChat, Web Push)."""

import datetime as dt
import json
import ssl
from collections.abc import Callable, Collection, Sequence
from typing import Final, Self
from uuid import UUID

import httpx

from cloud_bridge.connectors.base import (
    AlertOrder,
    Connector,
    Order,
    ReadingOrder,
    WithdrawnReading,
    WorkReport,
)
from cloud_bridge.connectors.webhook_map import (
    Event,
    Sends,
    alert_event,
    message_events,
    reading_event,
    withdrawn_event,
)
from cloud_bridge.connectors.webhook_signature import DELIVERY_HEADER, HEADER, sign
from wire_format.errors import Misconfigured, Rejected, Unreachable

_NOT_ALLOWED: Final = frozenset({401, 403, 404})
_AGAIN: Final = frozenset({408, 409, 425, 429})


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class WebhookConnector(Connector):
    """See `Connector`. Use as `async with`. `secrets`: the newest first; two while one is renewed."""

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
        self.name = name
        self._url, self._secrets, self._sends, self._clock = url, secrets, frozenset(sends), clock
        self._client = httpx.AsyncClient(timeout=timeout_s, verify=tls or True, follow_redirects=False)

    async def __aenter__(self) -> Self:
        """Keep connections open between events."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._client.aclose()

    async def deliver(self, order: Order) -> None:
        """See `Connector`."""
        for event in self._events(order):
            await self._post(event)

    async def work_reports(self, alerts: Sequence[UUID]) -> Sequence[WorkReport]:
        """Return nothing: a webhook only tells."""
        del alerts
        return ()

    def _events(self, order: Order) -> list[Event]:
        match order:
            case AlertOrder():
                told = [alert_event(order)] if Sends.ALERTS in self._sends else []
                return [*told, *(message_events(order) if Sends.MESSAGES in self._sends else [])]
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
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unreachable(
                f"The receiver of the webhook {self.name!r} does not answer ({type(error).__name__}): "
                "it is tried again."
            ) from error
        _judge(self.name, answer)


def _judge(name: str, answer: httpx.Response) -> None:
    code = answer.status_code
    if answer.is_success:
        return
    if code in _NOT_ALLOWED or answer.is_redirect:
        raise Misconfigured(
            f"The receiver of the webhook {name!r} refuses us ({code}): check url and secret."
        )
    if code in _AGAIN or answer.is_server_error:
        raise Unreachable(f"The receiver of the webhook {name!r} cannot take it now ({code}): tried again.")
    raise Rejected(
        f"The receiver of the webhook {name!r} refused an event ({code}): see its log, then retry."
    )
