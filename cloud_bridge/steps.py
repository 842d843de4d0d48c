"""The steps of the path at the hospital, each named, so that whoever watches (or kills) can say where.

An observer is called synchronously at the step and must not block; it is told ids, numbers and sizes, never
a value, a name or an address.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum


class Step(StrEnum):
    """What is true when the observer is called."""

    ARRIVED = "arrived"  # the broker delivered bytes; none is durable here
    INBOX_COMMITTED = "inbox_committed"  # durable in the inbox; the broker was not told
    ACKNOWLEDGED = "acknowledged"  # the broker was told that it may forget
    OPENED = "opened"  # verified and opened; nothing of it is stored
    INGEST_WRITTEN = "ingest_written"  # everything is written, not committed: a kill loses it
    STORED = "stored"  # readings, alerts, deliveries and the receipt that is due are durable
    RECEIPT_SIGNED = "receipt_signed"  # signed, not handed to the broker
    RECEIPT_PUBLISHED = "receipt_published"  # the broker has it; its row still says that it is due
    RECEIPT_DONE = "receipt_done"  # the row is settled
    DELIVERY_CLAIMED = "delivery_claimed"  # a worker holds the row; the destination knows nothing
    DELIVERY_CONFIRMED = "delivery_confirmed"  # the destination said 2xx; the row does not say so yet
    DELIVERED = "delivered"  # the row says so
    ACKNOWLEDGEMENT_STORED = "acknowledgement_stored"  # somebody saw the alert; the message is queued
    DOWNLINK_PUBLISHED = "downlink_published"  # the broker has the message; its row does not say so yet
    DOWNLINK_DONE = "downlink_done"  # the row says so


StepObserver = Callable[[Step, Mapping[str, object]], None]
"""Called at each step with its facts."""


def nobody(_step: Step, _facts: Mapping[str, object]) -> None:
    """Observe nothing."""
