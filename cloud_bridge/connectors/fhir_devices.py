"""Devices as FHIR resources: PhdDevice, PhgDevice, and the coincident time stamp of a visit. Pure."""

import datetime as dt

from cloud_bridge.connectors.base import Gateway, ReadingOrder
from cloud_bridge.connectors.fhir_codes import (
    BLUETOOTH_ADDRESS,
    DEVICE_IDENTIFIER,
    GENERIC,
    MDC,
    PHD_PROFILE,
    SYSTEM_ID,
    URI,
    Resource,
    coding,
    concept,
    eui,
    identifier,
    specialization,
)
from wire_format.identity import derived_id
from wire_format.measurement import DeviceIdentity, Measurement

_SYNC: tuple[int, str] = (68220, "MDC_TIME_SYNC_PROTOCOL")


def device_key(device: DeviceIdentity) -> Resource:
    """Return the identifier that a device is created under: ours, because a system id may be shared."""
    return identifier(URI, f"urn:uuid:{device.device_id}")


def gateway_key(gateway: Gateway) -> Resource:
    """Return the identifier that a gateway is created under."""
    return identifier(SYSTEM_ID, eui(gateway.system_id))


def phd_device(m: Measurement) -> Resource:
    """Return the personal health device that measured."""
    device = m.device
    identifiers = [device_key(device)]
    if device.system_id is not None:
        identifiers.append(_typed("SYSID", SYSTEM_ID, eui(device.system_id)))
    if device.address is not None:
        identifiers.append(_typed("BTMAC", BLUETOOTH_ADDRESS, eui(device.address)))
    found: Resource = {
        "resourceType": "Device",
        "meta": {"profile": [f"{PHD_PROFILE}PhdDevice"]},
        "identifier": identifiers,
        "manufacturer": device.maker,
        "modelNumber": device.model,
        "type": concept(coding(MDC, 65573, "MDC_MOC_VMS_MDS_SIMP")),
        "specialization": [_specialization(specialization(m.quantity))],
        "property": [_synchronised_by(532224, "MDC_TIME_SYNC_NONE")],
    }
    if device.serial is not None:
        found["serialNumber"] = device.serial
    if m.provenance.firmware is not None:
        found["version"] = [_version(531976, "MDC_ID_PROD_SPEC_FW", m.provenance.firmware)]
    return found


def phg_device(gateway: Gateway) -> Resource:
    """Return the personal health gateway that read it."""
    return {
        "resourceType": "Device",
        "meta": {"profile": [f"{PHD_PROFILE}PhgDevice"]},
        "identifier": [_typed("SYSID", SYSTEM_ID, eui(gateway.system_id))],
        "manufacturer": "Kiteline",
        "type": concept(coding(MDC, 531981, "MDC_MOC_VMS_MDS_AHD")),
        "specialization": [_specialization(GENERIC)],
        "version": [_version(531975, "MDC_ID_PROD_SPEC_SW", gateway.software)],
        "property": [_synchronised_by(532226, "MDC_TIME_SYNC_NTPV4")],
    }


def coincident(order: ReadingOrder, device: str, gateway: str) -> Resource | None:
    """Return what the device's clock showed when the gateway's showed its own; None if it was not read.

    One a visit: all readings of a visit share it.
    """
    time, provenance = order.reading.measurement.time, order.reading.measurement.provenance
    if time.clock_offset_ms is None or time.received_uncertainty_ms is None:
        return None
    zone = dt.timezone(dt.timedelta(minutes=time.zone_offset_minutes or 0))
    at = time.received_at.astimezone(zone)
    key = derived_id("coincident", order.reading.measurement.device.device_id, time.boot_id, provenance.visit)
    return {
        "resourceType": "Observation",
        "meta": {"profile": [f"{PHD_PROFILE}PhdCoincidentTimeStampObservation"]},
        "identifier": [identifier(URI, f"urn:uuid:{key}")],
        "status": "final",
        "code": concept(coding(MDC, 67975, "MDC_ATTR_TIME_ABS")),
        "subject": {"reference": device},
        "device": {"reference": gateway},
        "effectiveDateTime": at.isoformat(),
        "valueDateTime": (at + dt.timedelta(milliseconds=time.clock_offset_ms)).isoformat(),
    }


def _typed(code: str, system: str, value: str) -> Resource:
    return {"type": concept(coding(DEVICE_IDENTIFIER, code)), **identifier(system, value)}


def _specialization(code: tuple[int, str]) -> Resource:
    return {"systemType": concept(coding(MDC, *code)), "version": "1"}


def _version(code: int, name: str, value: str) -> Resource:
    return {"type": concept(coding(MDC, code, name)), "value": value}


def _synchronised_by(code: int, name: str) -> Resource:
    return {"type": concept(coding(MDC, *_SYNC)), "valueCode": [concept(coding(MDC, code, name))]}
