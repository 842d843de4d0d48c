"""What every visit needs to know of this gateway, and how it speaks of a device."""

from dataclasses import dataclass

from device_drivers.catalogue import Catalogue
from device_drivers.driver import RecordCursor, Visit
from device_drivers.profile import DeviceProfile
from edge_agent.clock import GatewayClock, zone_offset_minutes
from edge_agent.config import Visits
from edge_agent.outbox import Outbox
from edge_agent.pairing import Devices, KnownDevice
from edge_agent.sink import GatewayVoice, OutboxSink, Sealer
from edge_agent.steps import StepObserver
from service_kit.log import Log
from wire_format.errors import Unreachable
from wire_format.identity import derived_id
from wire_format.statements import DeviceEvent, DeviceEventKind


@dataclass(frozen=True, slots=True)
class Home:
    """The parts of the agent that visits stand on."""

    software: str
    clock: GatewayClock
    zone_offset_minutes: int | None
    outbox: Outbox
    sealer: Sealer
    voice: GatewayVoice
    devices: Devices
    catalogue: Catalogue
    patience: Visits
    log: Log
    observer: StepObserver

    def sink_of(self, device: KnownDevice) -> OutboxSink:
        """Return where a device's readings go."""
        pairings = self.devices.pairings(device)
        device_id = device.identity.device_id
        return OutboxSink(self.outbox, self.sealer, self.clock, device_id, pairings, self.observer)

    def visit_to(
        self,
        device: KnownDevice,
        profile: DeviceProfile,
        number: int,
        sink: OutboxSink,
        firmware: str | None = None,
    ) -> Visit:
        """Return what a driver needs to know of here and now, and of this device."""
        reached = self.outbox.advance_of(device.identity.device_id)
        zone = self.zone_offset_minutes
        return Visit(
            device=device.identity,
            profile=profile,
            firmware=firmware,
            gateway=self.outbox.gateway,
            software=self.software,
            boot_id=self.clock.boot_id,
            number=number,
            zone_offset_minutes=zone_offset_minutes(self.clock.utc()) if zone is None else zone,
            cursor=None if reached is None else RecordCursor(sequence=reached.sequence, count=reached.count),
            now=self.clock.now,
            sink=sink,
            consents=self.devices.consents(device),
            bind_key=self.devices.bind_key(device),
        )

    def tell(self, device: KnownDevice, kind: DeviceEventKind, detail: str) -> None:
        """Say something of a device to whoever looks after it; a full outbox is said in the log."""
        now = self.clock.now()
        device_id = device.identity.device_id
        event = DeviceEvent(
            event_id=derived_id("device_event", kind, device_id, self.clock.boot_id, now.monotonic_ns),
            device=device.identity,
            kind=kind,
            at=now.utc,
            detail=detail[:500],
        )
        try:
            self.sink_of(device).commit([event])
        except Unreachable as error:
            self.log.warning("event_not_kept", reason=str(error))
