"""The hospital's FHIR R4 server: orders go in as transactions, work orders are read back."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import httpx

from cloud_bridge.connectors.base import (
    AlertOrder,
    Connector,
    Order,
    ReadingOrder,
    ReminderOrder,
    VisitOrder,
    WithdrawnReading,
    WorkReport,
    WorkState,
)
from cloud_bridge.connectors.fhir_codes import (
    COPIES,
    MEASUREMENT,
    PATIENT_MESSAGE,
    TASK,
    Resource,
    identifier,
    is_taken_back,
)
from cloud_bridge.connectors.fhir_map import alert_bundle, reading_bundle, to_json, token
from cloud_bridge.connectors.fhir_observations import observation_id
from cloud_bridge.connectors.fhir_visit import reminder_bundle, visit_bundle
from cloud_bridge.connectors.fhir_work import outcome_of, request_of
from cloud_bridge.connectors.http_receiver import WHOLE
from wire_format.errors import Misconfigured, Rejected, Unreachable

ATTEMPTS_AT_ONCE: Final = 3
"""How often a change is tried against a resource that staff change at the same time."""
SEARCH_BATCH: Final = 20
MOST_PAGES: Final = 50

_CONFLICT: Final = 409
_PRECONDITION_FAILED: Final = 412
_AGAIN: Final = frozenset({408, _CONFLICT, 425, 429})
_NOT_ALLOWED: Final = frozenset({401, 403})

_STATES: Final = {
    "accepted": WorkState.ACCEPTED,
    "in-progress": WorkState.BEGUN,
    "on-hold": WorkState.ACCEPTED,
    "completed": WorkState.COMPLETED,
    "rejected": WorkState.REFUSED,
    "failed": WorkState.REFUSED,
    "cancelled": WorkState.REFUSED,
    "entered-in-error": WorkState.REFUSED,
}
"""R4 Task.status; what is not here waits for somebody."""


class _VersionConflictError(Exception):
    """Somebody changed a resource between our reading and our writing."""


class FhirR4Connector(Connector):
    """See `Connector`. Use as `async with`; `test_data` marks what is sent as no real patient's.

    `token` is a fixed bearer token; `auth` gets one when it is needed; `tls` shows a certificate of ours.
    """

    def __init__(  # noqa: PLR0913 - a server has its address, and ways to prove who asks
        self,
        base_url: str,
        *,
        name: str = "fhir",
        test_data: bool = False,
        timeout_s: float = 10,
        token: str | None = None,
        auth: httpx.Auth | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._test_data, self._whole_s = test_data, WHOLE * timeout_s
        headers = {"Accept": "application/fhir+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.AsyncClient(
            base_url=base_url, headers=headers, timeout=timeout_s, auth=auth, verify=tls or True
        )

    async def close(self) -> None:
        """See `Connector`."""
        await self._client.aclose()

    async def deliver(self, order: Order) -> None:
        """See `Connector`."""
        if isinstance(order, WithdrawnReading):
            await self._withdraw(order.measurement_id, lambda _: True)
            return
        if isinstance(order, ReadingOrder):
            await self._withdraw(order.reading.id, lambda found: not _is_of(found, order))
            bundle = reading_bundle(order, test_data=self._test_data)
            if bundle is not None:
                await self._transact(bundle)
            return
        if isinstance(order, ReminderOrder):
            await self._transact(reminder_bundle(order, test_data=self._test_data))
            return
        await self._change(order)

    async def work_reports(self, alerts: Sequence[UUID]) -> Sequence[WorkReport]:
        """See `Connector`."""
        reports = []
        for start in range(0, len(alerts), SEARCH_BATCH):
            asked = [str(alert) for alert in alerts[start : start + SEARCH_BATCH]]
            tasks = await self._search("Task", [token(identifier(TASK, one)) for one in asked])
            reports += [report for task in tasks if (report := _report(task)) is not None]
        return reports

    async def _change(self, order: AlertOrder | VisitOrder) -> None:
        for _ in range(ATTEMPTS_AT_ONCE):
            bundle = await self._bundle(order)
            try:
                if bundle is not None:
                    await self._transact(bundle)
            except _VersionConflictError:
                continue
            return
        raise Unreachable("The hospital's staff change the same work order right now: it is tried again.")

    async def _bundle(self, order: AlertOrder | VisitOrder) -> Resource | None:
        """Return what makes the server's work order say what is so now; None if it does."""
        if isinstance(order, VisitOrder):
            known = await self._search("Task", [token(identifier(TASK, str(order.visit_id)))])
            return visit_bundle(order, known, test_data=self._test_data)
        existing: Sequence[Resource] = ()
        # Of a first revision the server has nothing, or the same: each part is created once by condition.
        if order.alert.revision > 1:
            existing = await self._existing(order.alert.alert_id, order.alert.lead.finding_id)
        return alert_bundle(order, existing, test_data=self._test_data)

    async def _existing(self, alert: UUID, episode: UUID) -> list[Resource]:
        systems = (*COPIES.values(), PATIENT_MESSAGE)
        messages = [token(identifier(system, str(episode))) for system in systems]
        return [
            *await self._search("Task", [token(identifier(TASK, str(alert)))]),
            *await self._search("CommunicationRequest", messages),
        ]

    async def _withdraw(self, measurement: UUID, wrong: Callable[[Resource], bool]) -> None:
        """Mark what was filed of a reading under somebody whose it is not as entered in error."""
        key = token(identifier(MEASUREMENT, str(measurement)))
        for found in await self._search("Observation", [key]):
            if not wrong(found) or found["status"] == "entered-in-error":
                continue
            entry = {**found, "status": "entered-in-error"}
            request = {
                "method": "PUT",
                "url": f"Observation/{found['id']}",
                "ifMatch": f'W/"{found["meta"]["versionId"]}"',
            }
            one = {"resource": entry, "request": request}
            try:
                await self._transact({"resourceType": "Bundle", "type": "transaction", "entry": [one]})
            except _VersionConflictError as error:
                raise Unreachable("An Observation was changed meanwhile: it is tried again.") from error

    # --- HTTP ---

    async def _transact(self, bundle: Resource) -> None:
        answer = await self._ask("POST", "", content=to_json(bundle))
        if answer.status_code == _PRECONDITION_FAILED and _has_versions(bundle):
            raise _VersionConflictError
        _check(answer)
        body = _json(answer)
        entries = body.get("entry", [])
        statuses = [str(entry.get("response", {}).get("status", "")) for entry in entries]
        if body.get("type") != "transaction-response" or len(statuses) != len(bundle["entry"]):
            raise Unreachable("The hospital's server answered a transaction with something else: check it.")
        if not all(status.startswith("2") for status in statuses):
            raise Rejected("The hospital's server took a part of a transaction only: look at its log.")

    async def _search(self, kind: str, tokens: Sequence[str]) -> list[Resource]:
        """Return what has one of the identifiers, page after page."""
        address: Any = f"{kind}?identifier={','.join(tokens)}&_count=200"
        found: list[Resource] = []
        for _ in range(MOST_PAGES):
            answer = await self._ask("GET", address)
            _check(answer)
            body = _json(answer)
            resources = [one.get("resource") for one in _dicts(body, "entry")]
            found += [one for one in resources if isinstance(one, dict) and one.get("resourceType") == kind]
            onwards = (one.get("url") for one in _dicts(body, "link") if one.get("relation") == "next")
            address = next(onwards, None)
            if not isinstance(address, str):
                return found
        raise Unreachable("The hospital's server has no end of pages for one search: check it.")

    async def _ask(self, method: str, address: str, content: str | None = None) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": "application/fhir+json"}
        try:
            async with asyncio.timeout(self._whole_s):
                return await self._client.request(method, address, content=content, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unreachable(
                f"The hospital's FHIR server does not answer ({type(error).__name__}): it is tried again."
            ) from error


def _check(answer: httpx.Response) -> None:
    """Raise what the caller does next, unless the server said 2xx. Never quotes what was sent."""
    code = answer.status_code
    if answer.is_success:
        return
    if code in _NOT_ALLOWED:
        raise Misconfigured(f"The hospital's FHIR server refuses us ({code}): check [fhir] token_file.")
    if code in _AGAIN or answer.is_server_error:
        raise Unreachable(f"The hospital's FHIR server cannot take it now ({code}): it is tried again.")
    raise Rejected(
        f"The hospital's FHIR server refused it ({code} {_issue_code(answer)}): is the patient, nurse, "
        "physician and organization of the enrolment known there? Then retry the dead letter."
    )


def _issue_code(answer: httpx.Response) -> str:
    """Return the OperationOutcome's coded reason; its free text may quote a patient, so it is left out."""
    try:
        code = answer.json()["issue"][0]["code"]
    except (ValueError, LookupError, TypeError):
        return "without reason"
    return code if isinstance(code, str) and code.replace("-", "").isalpha() else "without reason"


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        # What is read may be written back: a value keeps its digits, 82.50 stays 82.50.
        body = answer.json(parse_float=Decimal)
    except ValueError as error:
        raise Unreachable("The hospital's server answered without FHIR: check what stands there.") from error
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        raise Unreachable("The hospital's server answered without a Bundle: check what stands there.")
    return body


def _dicts(body: Resource, name: str) -> list[dict[str, Any]]:
    """Return the elements of a list that are objects; what a server wrote in place of others says nothing."""
    found = body.get(name, [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _has_versions(bundle: Resource) -> bool:
    return any("ifMatch" in entry["request"] for entry in bundle["entry"])


def _is_of(found: Resource, order: ReadingOrder) -> bool:
    """Tell whether an Observation of this reading was filed under the patient whom it belongs to now."""
    values = {one.get("value") for one in found.get("identifier", [])}
    codes = [one["code"] for one in found["code"].get("coding", [])] or [""]
    return any(f"urn:uuid:{observation_id(order, code)}" in values for code in codes) or _text_is_of(
        found, order, values
    )


def _text_is_of(found: Resource, order: ReadingOrder, values: set[Any]) -> bool:
    """Tell the same of terms that have no code."""
    text = str(found["code"].get("text", "")).replace(" ", "_")
    return f"urn:uuid:{observation_id(order, text)}" in values


def _report(task: Resource) -> WorkReport | None:
    """Return what a Task says; None of one that is not ours, or that cannot be read: it hides no other."""
    try:
        return _read(task)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _read(task: Resource) -> WorkReport | None:
    state = _STATES.get(task["status"], WorkState.WAITING)
    if is_taken_back(task):
        state = WorkState.WAITING  # our own word, that somebody may have to hear is no more
    ours = [one["value"] for one in task.get("identifier", []) if one.get("system") == TASK]
    owner = task.get("owner", {})
    at = dt.datetime.fromisoformat(task["meta"]["lastUpdated"])
    if not ours or at.tzinfo is None:
        return None
    by = owner.get("display") or owner.get("reference")
    return WorkReport(UUID(ours[0]), state, by, at, outcome_of(task), request_of(task))
