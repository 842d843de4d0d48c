"""Webhooks: signatures that a receiver can trust, events that say what they must, and no more."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import (
    Sends,
    alert_event,
    message_events,
    reading_event,
    withdrawn_event,
)
from cloud_bridge.connectors.webhook_signature import DELIVERY_HEADER, HEADER, sign, verify
from tests.doubles.bridge_orders import alert_order, order
from tests.doubles.bridge_readings import reading
from tests.doubles.odd_server import http, odd_server
from wire_format.errors import Misconfigured

SECRET, OLD, AT = bytes(range(32)), bytes(32), 1_790_000_000


def test_a_signature_is_trusted_within_its_window_alone() -> None:
    header = sign((SECRET,), b"{}", AT)
    assert verify(SECRET, header, b"{}", AT)
    assert verify(SECRET, header, b"{}", AT + 300)
    assert not verify(SECRET, header, b"{}", AT + 301)
    assert not verify(SECRET, header, b"{}", AT - 301)
    assert not verify(OLD, header, b"{}", AT)
    assert not verify(SECRET, header, b"{} ", AT)
    assert not verify(SECRET, header.replace("179", "178"), b"{}", AT)


def test_while_a_secret_is_renewed_both_are_good() -> None:
    header = sign((SECRET, OLD), b"x", AT)
    assert verify(SECRET, header, b"x", AT)
    assert verify(OLD, header, b"x", AT)


@given(st.text(max_size=90))
def test_any_other_header_is_refused(header: str) -> None:
    assert not verify(SECRET, header, b"", AT)


def test_a_reading_as_an_event() -> None:
    event = reading_event(order(reading("142", "91")))
    assert event is not None
    assert event.body["patient"] == {"system": "https://hospital.example/id/patient", "value": "42"}
    assert event.body["components"][0] == {"term": "systolic", "unit": "mm[Hg]", "value": "142"}
    assert event.body["type"] == "reading"
    assert event.body["id"] == str(event.event_id)
    untimed = reading_event(order(replace(reading("142"), measured=None)))
    assert untimed is not None
    assert (untimed.body["measured_at"], untimed.body["uncertainty_ms"]) == (None, None)
    assert withdrawn_event(UUID(int=1)).body["type"] == "reading_withdrawn"


def test_a_message_is_told_once_and_can_be_taken_back() -> None:
    first, second = message_events(alert_order()), message_events(alert_order(revision=2))
    assert [e.event_id for e in first] == [e.event_id for e in second]
    physician, patient = first
    assert (patient.body["language"], patient.body["text"]) == ("zh-Hans", "请坐下休息")
    assert patient.body["to"]["value"] == "42"
    assert physician.body["to"]["value"] == "physician-1"
    for taken_back in message_events(alert_order(revision=3, state=AlertState.WITHDRAWN)):
        assert (taken_back.body["revoked"], taken_back.body["text"]) == (True, None)
    assert "192" not in str(patient.body)


def test_an_alert_as_an_event() -> None:
    body = alert_event(alert_order()).body
    assert (body["state"], body["severity"], body["standing"]) == ("open", "severe", "confirmed")
    assert len(body["readings"]) == 2
    order_ = alert_order()
    late = alert_event(replace(order_, alert=replace(order_.alert, late=True))).body
    assert [(one["urgency"], one["late"]) for one in (body, late)] == [("severe", False), ("routine", True)]
    assert alert_event(alert_order()).event_id != alert_event(alert_order(revision=2)).event_id


async def heard(sends: list[Sends], what: Any) -> list[bytes]:
    requests: list[bytes] = []
    async with odd_server(http("204 No Content"), heard=requests) as url:
        clock = dt.datetime.fromtimestamp(AT, dt.UTC)
        async with WebhookConnector(url, (SECRET,), sends, name="desk", clock=lambda: clock) as connector:
            await connector.deliver(what)
            assert await connector.work_reports([UUID(int=1)]) == ()
    return requests


async def test_what_is_sent_can_be_verified() -> None:
    (request,) = await heard([Sends.READINGS], order(reading("142")))
    head, body = request.split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    lower = {name.lower(): value for name, value in headers.items()}
    assert verify(SECRET, lower[HEADER.lower()], body, AT)
    assert lower[DELIVERY_HEADER.lower()] in body.decode()


@pytest.mark.parametrize(
    ("sends", "count"),
    [
        ([Sends.READINGS], 0),
        ([Sends.ALERTS], 1),
        ([Sends.MESSAGES], 2),
        ([Sends.ALERTS, Sends.MESSAGES], 3),
    ],
)
async def test_a_receiver_is_told_what_it_asked_for(sends: list[Sends], count: int) -> None:
    assert len(await heard(sends, alert_order())) == count
    assert len(await heard([Sends.MESSAGES], order(reading("142")))) == 0


async def test_a_redirection_is_not_followed() -> None:
    async with (
        odd_server(http("302 Found\r\nLocation: http://127.0.0.1:1/")) as url,
        WebhookConnector(url, (SECRET,), [Sends.READINGS], name="desk") as connector,
    ):
        with pytest.raises(Misconfigured, match="302"):
            await connector.deliver(order(reading("142")))
