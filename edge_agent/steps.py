"""The steps of the path at home, each named, so that whoever watches (or kills) can say exactly where.

An observer is called synchronously at the step and must not block; it is told ids, numbers and sizes, never
a value, a name or an address.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum


class Step(StrEnum):
    """What is true when the observer is called."""

    SIGHTED = "sighted"  # an advertisement of a device of ours was heard; nothing is connected
    CONNECTED = "connected"  # the link is open, the driver has not begun
    HANDLER_CALLED = (
        "handler_called"  # bytes are in this process; the radio stack confirmed them; none is durable
    )
    COMMIT_CALLED = "commit_called"  # the bytes are decoded readings; none is durable
    SEALED = "sealed"  # an envelope is sealed within the open transaction; none is durable
    OUTBOX_WRITTEN = "outbox_written"  # rows and cursor are written, not committed: a kill loses them
    OUTBOX_COMMITTED = "outbox_committed"  # durable on the card; the handler has not yet returned
    PUBLISHING = "publishing"  # about to hand an envelope to the MQTT client
    PUBLISHED = "published"  # handed to the MQTT client; the broker may not have it
    PUBACK = "puback"  # the broker answered; it proves nothing
    RECEIPT_RECEIVED = "receipt_received"  # bytes of a receipt are here, not verified
    RECEIPT_VERIFIED = "receipt_verified"  # it is signed by the hospital; nothing is settled
    RECEIPT_SETTLED = (
        "receipt_settled"  # what it confirms is durably settled; it is not acknowledged to the broker
    )
    DOWNLINK_RECEIVED = "downlink_received"  # bytes of a message are here, not opened
    DOWNLINK_STORED = "downlink_stored"  # the message is durable; it is not acknowledged to the broker
    VISIT_ENDED = "visit_ended"  # the link is closed; what was committed stays


StepObserver = Callable[[Step, Mapping[str, object]], None]
"""Called at each step with its facts."""


def nobody(_step: Step, _facts: Mapping[str, object]) -> None:
    """Observe nothing."""
