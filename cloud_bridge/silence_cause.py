"""Why nothing came: the gateway is not heard, a device cannot be read, or nobody measured. Pure.

It is said beside a silence as it is known when somebody reads it; the finding stands on readings alone. What
a gateway signed comes when something happens, not by the clock: one that is not heard is only likely off.
That it is gone is known by the broker's word (its last will), which nobody signs: it chooses words here and
decides nothing, and trouble that the gateway signed is said rather than it.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud_bridge.rules.base import Finding, Standing
from wire_format.statements import DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind

RULE: Final = "SILENCE"
MISSING: Final = "missing"
TECHNICAL: Final = "TECHNICAL"
SILENT: Final = "silent"
BLUETOOTH: Final = "Bluetooth"
_TROUBLE: Final = frozenset(
    {
        DeviceEventKind.VISIT_FAILED,
        DeviceEventKind.BOND_LOST,
        DeviceEventKind.BATTERY_LOW,
        DeviceEventKind.CONSENT_REFUSED,
    }
)


class CauseKind(StrEnum):
    """What is silent."""

    GATEWAY = "gateway"  # not heard
    GATEWAY_OFF = "gateway_off"  # known to be gone
    GATEWAY_IDLE = "gateway_idle"  # connected, and sends nothing
    GATEWAY_SINCE = "gateway_since"  # not heard, and this is when it last was
    DEVICE = "device"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why nothing came, as far as it is known; `device` is its maker and model.

    `since`: of a gateway that is off, when that was known at the latest; of one not heard, when it last was.
    """

    kind: CauseKind
    device: str = ""
    since: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of gateways' connections, by the broker's word: gone since, or there lately."""

    gone_since: dt.datetime | None = None
    there: bool = False


UNKNOWN: Final = Connection()


def is_silent_gateway(finding: Finding) -> bool:
    """Tell whether a finding is an installer's gateway from which nothing comes."""
    silent = finding.rule == TECHNICAL and dict(finding.reason).get("text") == SILENT
    return silent and finding.standing is not Standing.RESOLVED


def is_silence(finding: Finding) -> bool:
    """Tell whether a finding is a silence that goes on."""
    return finding.rule == RULE and dict(finding.reason).get("text") == MISSING


def cause(
    *,
    heard: bool,
    events: list[DeviceEvent | GatewayEvent],
    devices: frozenset[str],
    connection: Connection = UNKNOWN,
) -> Cause:
    """Return why nothing came since a moment, from what the home said after it, in order.

    `devices` are the ids of those that measured before; without any, trouble of every device counts.
    """
    troubles: dict[str, str] = {}
    for event in events:
        if isinstance(event, GatewayEvent):
            if event.kind is GatewayEventKind.ADAPTER_DEAD:
                troubles[BLUETOOTH] = BLUETOOTH
            elif event.kind is GatewayEventKind.ADAPTER_BACK:
                troubles.pop(BLUETOOTH, None)
        elif event.kind in _TROUBLE and (not devices or str(event.device.device_id) in devices):
            troubles[str(event.device.device_id)] = f"{event.device.maker} {event.device.model}"
    if troubles:
        return Cause(CauseKind.DEVICE, min(troubles.values()))
    if connection.gone_since is not None:
        return Cause(CauseKind.GATEWAY_OFF, since=connection.gone_since)
    return Cause(CauseKind.PERSON if heard or connection.there else CauseKind.GATEWAY)


def gateway_cause(last_heard: dt.datetime, connection: Connection) -> Cause:
    """Return what an installer should know of a gateway from which nothing came since a moment."""
    if connection.gone_since is not None:
        return Cause(CauseKind.GATEWAY_OFF, since=connection.gone_since)
    if connection.there:
        return Cause(CauseKind.GATEWAY_IDLE)
    return Cause(CauseKind.GATEWAY_SINCE, since=last_heard)
