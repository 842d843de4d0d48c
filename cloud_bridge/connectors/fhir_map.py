"""Orders as FHIR R4 transactions. Pure: what must be known of the server is passed in.

Observations, devices and messages are created under a condition on an identifier of our own, so that sending
again creates nothing; that identifier is a short URN, which no server cuts and no `+` can break. The guide's
identifier stands beside it. Resources without identifier or without search for it (Provenance, DetectedIssue)
have ids derived from ours.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import AlertOrder, Copy, Gateway, Identifier, ReadingOrder
from cloud_bridge.connectors.fhir_codes import (
    ACT_REASON,
    ENVELOPE,
    Resource,
    coding,
    concept,
    identifier,
)
from cloud_bridge.connectors.fhir_devices import coincident, device_key, gateway_key, phd_device, phg_device
from cloud_bridge.connectors.fhir_observations import Surroundings, observations
from cloud_bridge.connectors.fhir_work import (
    changed_task,
    detected_issue,
    new_task,
    patient_message,
    staff_copy,
)
from cloud_bridge.rules.care import CareRole
from wire_format.identity import derived_id


@dataclass
class Bundle:
    """A transaction that is being put together. Each resource comes in once."""

    test_data: bool
    _entries: dict[str, Resource] = field(default_factory=dict)

    def create(self, key: Resource, resource: Resource, full_url: UUID) -> str:
        """Add a resource that is created unless there is one with `key`; return its reference."""
        kind = resource["resourceType"]
        condition = f"identifier={token(key)}"
        return self._add(full_url, resource, {"method": "POST", "url": kind, "ifNoneExist": condition})

    def replace(self, key: Resource, resource: Resource, full_url: UUID) -> str:
        """Add a resource that takes the place of the one with `key`, or is created."""
        kind = resource["resourceType"]
        return self._add(full_url, resource, {"method": "PUT", "url": f"{kind}?identifier={token(key)}"})

    def put(self, resource: Resource, *, version: str | None = None) -> str:
        """Add a resource under its own id; with `version`, only if that is still the server's."""
        address = f"{resource['resourceType']}/{resource['id']}"
        request = {"method": "PUT", "url": address}
        if version is not None:
            request["ifMatch"] = f'W/"{version}"'
        return self._add(_uuid(resource["id"]), resource, request)

    def resource(self) -> Resource:
        """Return it as it is sent."""
        return {"resourceType": "Bundle", "type": "transaction", "entry": list(self._entries.values())}

    def _add(self, full_url: UUID, resource: Resource, request: dict[str, str]) -> str:
        url = f"urn:uuid:{full_url}"
        if self.test_data:
            label = coding(ACT_REASON, "HTEST", "test health data")
            resource = {**resource, "meta": {**resource.get("meta", {}), "security": [label]}}
        self._entries.setdefault(url, {"fullUrl": url, "resource": resource, "request": request})
        return url


def reading_bundle(order: ReadingOrder, *, test_data: bool) -> Resource | None:
    """Return the transaction that files one reading; None if it is no patient's data."""
    bundle = Bundle(test_data)
    return bundle.resource() if _file(order, bundle) is not None else None


def alert_bundle(order: AlertOrder, existing: Sequence[Resource], *, test_data: bool) -> Resource:
    """Return the transaction that hands an alert over, or brings it up to date.

    `existing` are the Task and the CommunicationRequests that the server has of this alert.
    """
    bundle = Bundle(test_data)
    evidence = [url for one in order.readings if (url := _file(one, bundle)) is not None]
    author = None if order.gateway is None else _gateway(order.gateway, bundle)
    patient = reference("Patient", order.care.patient)
    bundle.put(detected_issue(order, patient, author, evidence))
    if order.work is not None:
        _task(order, bundle, existing, author, evidence)
    _messages(order, bundle, existing)
    return bundle.resource()


def _gateway(gateway: Gateway, bundle: Bundle) -> str:
    url = _device_url("phg", gateway.system_id)
    return bundle.create(gateway_key(gateway), phg_device(gateway), url)


def _file(order: ReadingOrder, bundle: Bundle) -> str | None:
    """Add one reading with its devices and its origin; return the reference of the reading itself."""
    m = order.reading.measurement
    device = bundle.create(device_key(m.device), phd_device(m), _device_url("phd", m.device.device_id))
    gateway = _gateway(order.gateway, bundle)
    stamp = coincident(order, device, gateway)
    stamp_url = None
    if stamp is not None:
        key = stamp["identifier"][0]
        stamp_url = bundle.create(key, stamp, UUID(key["value"].removeprefix("urn:uuid:")))
    patient = reference("Patient", order.care.patient)
    made = observations(order, Surroundings(patient, device, gateway, stamp_url))
    add = bundle.replace if order.revision > 1 else bundle.create
    urls = [add(resource["identifier"][0], resource, own) for own, resource in made]
    if not urls:
        return None
    bundle.put(_provenance(order, urls, gateway, device))
    return urls[0]


def _provenance(order: ReadingOrder, targets: list[str], gateway: str, device: str) -> Resource:
    roles = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    m, digest = order.reading.measurement, order.envelope_digest.hex()
    agents = [("assembler", gateway), ("performer", device)]
    return {
        "resourceType": "Provenance",
        "id": str(derived_id("provenance", m.measurement_id, digest, order.care.patient.value)),
        "target": [{"reference": target} for target in targets],
        "recorded": m.time.received_at.isoformat(),
        "activity": concept(
            coding(
                "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                "UPDATE" if order.revision > 1 else "CREATE",
            )
        ),
        "agent": [{"type": concept(coding(roles, role)), "who": {"reference": who}} for role, who in agents],
        "entity": [
            {"role": "source", "what": {"identifier": identifier(ENVELOPE, f"sha256:{digest}")}},
        ],
    }


def _task(
    order: AlertOrder, bundle: Bundle, existing: Sequence[Resource], author: str | None, evidence: list[str]
) -> None:
    known = [one for one in existing if one["resourceType"] == "Task"]
    if not known:
        patient = reference("Patient", order.care.patient)
        requester = author or reference("Organization", order.care.organization)
        task = new_task(order, patient, requester, _owner(order), evidence)
        bundle.create(task["identifier"][0], task, derived_id("task", order.alert.alert_id))
        return
    changed = changed_task(order, known[0], _owner(order), evidence)
    if changed is not None:
        bundle.put(changed, version=known[0]["meta"]["versionId"])


def _owner(order: AlertOrder) -> str:
    return _staff(order.asked, order.owner)


def _staff(role: CareRole, who: Identifier) -> str:
    return reference("Organization" if role is CareRole.ORGANIZATION else "Practitioner", who)


def _to_physician(order: AlertOrder, text: str) -> Copy:
    return Copy(CareRole.PHYSICIAN, order.care.physician, text)


def _messages(order: AlertOrder, bundle: Bundle, existing: Sequence[Resource]) -> None:
    """Add each message that there is once; what was withdrawn revokes what was not yet sent."""
    care = order.care
    patient = reference("Patient", care.patient)
    organization = reference("Organization", care.organization)
    copies = [] if order.physician_text is None else [_to_physician(order, order.physician_text)]
    messages = [
        staff_copy(order, one, patient, _staff(one.role, one.to), organization)
        for one in (*copies, *order.copies)
    ]
    if order.patient_text is not None:
        messages.append(patient_message(order, patient, organization))
    known = {_key(one): one for one in existing if "payload" in one}
    for message in messages:
        key = message["identifier"][0]
        sent = known.get(_key(message))
        if sent is None:
            bundle.create(key, message, derived_id("message", *_key(message)))
        elif order.alert.state is AlertState.WITHDRAWN and sent["status"] == "active":
            bundle.put({**sent, "status": "revoked"}, version=sent["meta"]["versionId"])


def _key(message: Resource) -> tuple[str, str]:
    own = message["identifier"][0]
    return own["system"], own["value"]


def reference(kind: str, who: Identifier) -> str:
    """Return a conditional reference to somebody whom the hospital has."""
    return f"{kind}?identifier={token({'system': who.system, 'value': who.value})}"


def token(key: Resource) -> str:
    """Return an identifier as a search parameter; a plus sign would become a space if it stood as it is."""
    return f"{quote(key['system'], safe=':/.')}|{quote(key['value'], safe=':/.')}"


def _device_url(kind: str, key: object) -> UUID:
    return derived_id("device_url", kind, str(key))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return derived_id("full_url", text)


_PLAIN: Final = (str, bool, int, type(None))


def to_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON in which a Decimal keeps its digits: 6.30 stays 6.30."""
    match value:
        case Decimal():
            return format(value, "f")
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{to_json(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(to_json, value)) + "]"
        case _ if isinstance(value, _PLAIN):
            return json.dumps(value, ensure_ascii=False)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a FHIR resource")
