"""What each path of the interface for programs asks the policies: the rows of the matrix. Pure.

A path without a row here is not served. docs/access.md is written from these rows and the policies, and a
test sends the request of each cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Action, DataType


class No(StrEnum):
    """What a no does to the answer."""

    REFUSES = "refuses"  # 403
    LEAVES_OUT = "leaves out"  # 200, without what is not allowed


@dataclass(frozen=True, slots=True)
class Asks:
    """One question that a path asks, of each of some kinds of data (none: of none).

    `part` says of what alone it is asked, where a path asks of more than one thing.
    """

    action: Action
    kinds: tuple[DataType, ...] = ()
    no: No = No.REFUSES
    part: str = ""


EVIDENCE: Final = "evidence"
UNKNOWN: Final = "somebody unknown"
EQUIPMENT: Final = "equipment"


_ALERTS: Final = (DataType.ALERTS,)
_OF_READINGS: Final = tuple(dict.fromkeys(DATA_OF.values()))
_MOVE: Final = (Asks(Action.ACKNOWLEDGE, _ALERTS), Asks(Action.TRIAGE, part=UNKNOWN))
_LISTED: Final = (
    Asks(Action.READ, _ALERTS, No.LEAVES_OUT),
    Asks(Action.TRIAGE, (), No.LEAVES_OUT, UNKNOWN),
    Asks(Action.SEE_DEVICES, (), No.LEAVES_OUT, EQUIPMENT),
)

ENDPOINTS: Final[Mapping[tuple[str, str], tuple[Asks, ...]]] = {
    ("GET", "/me"): (Asks(Action.USE_API),),
    ("GET", "/programmes"): (Asks(Action.USE_API),),
    ("GET", "/alerts"): _LISTED,
    ("GET", "/alerts/{alert_id}"): (
        Asks(Action.READ, _ALERTS),
        Asks(Action.READ, _OF_READINGS, No.LEAVES_OUT, EVIDENCE),
        Asks(Action.TRIAGE, part=UNKNOWN),
        Asks(Action.SEE_DEVICES, part=EQUIPMENT),
    ),
    ("POST", "/alerts/{alert_id}/acknowledge"): _MOVE,
    ("POST", "/alerts/{alert_id}/begin"): _MOVE,
    ("POST", "/alerts/{alert_id}/resolve"): _MOVE,
    ("POST", "/alerts/{alert_id}/escalate"): _MOVE,
    ("GET", "/patients"): (Asks(Action.READ, tuple(DataType), No.LEAVES_OUT),),
    ("GET", "/patients/{patient}"): (Asks(Action.READ, tuple(DataType)),),
    ("GET", "/patients/{patient}/readings"): (Asks(Action.READ, _OF_READINGS),),
    ("GET", "/patients/{patient}/consents"): (Asks(Action.SEE_READERS, _ALERTS),),
    ("GET", "/patients/{patient}/readers"): (Asks(Action.SEE_READERS, _ALERTS),),
    ("GET", "/dead-letters"): (Asks(Action.RETRY_DELIVERY),),
    ("POST", "/dead-letters/retry"): (Asks(Action.RETRY_DELIVERY),),
    ("GET", "/audit"): (Asks(Action.READ_AUDIT),),
    ("GET", "/events"): _LISTED,
}
