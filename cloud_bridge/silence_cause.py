"""Why nothing came: the gateway is not heard, a device cannot be read, or nobody measured. Pure.

It is said beside a silence as it is known when somebody reads it; the finding stands on readings alone. A
gateway speaks when something happens, not by the clock: of one that is not heard it is only likely that it is
off, and the words say no more than that.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud_bridge.rules.base import Finding
from wire_format.statements import DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind

RULE: Final = "SILENCE"
MISSING: Final = "missing"
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

    GATEWAY = "gateway"
    DEVICE = "device"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why nothing came, as far as it is known; `device` is its maker and model."""

    kind: CauseKind
    device: str = ""


def is_silence(finding: Finding) -> bool:
    """Tell whether a finding is a silence that goes on."""
    return finding.rule == RULE and dict(finding.reason).get("text") == MISSING


def cause(*, heard: bool, events: list[DeviceEvent | GatewayEvent], devices: frozenset[str]) -> Cause:
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
    return Cause(CauseKind.PERSON if heard else CauseKind.GATEWAY)
