"""Decisions by Cedar policies. No by default, and whenever a policy fails: Cedar skips a failing `forbid`."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import cedarpy

from cloud_bridge.access.model import ON_PATIENTS, Account, Answer, Question, Subject
from wire_format.errors import Misconfigured

NOBODY: Final = Subject("")
_SITE: Final = {"type": "Site", "id": "site"}
_FAILED: Final = "the policies could not be evaluated"


class Engine:
    """The policies of this bridge, parsed once. Raises `Misconfigured` if they do not fit their schema."""

    def __init__(self, policies: str | None = None) -> None:
        folder = files("cloud_bridge.access")
        text = policies if policies is not None else (folder / "policies.cedar").read_text(encoding="utf-8")
        schema = (folder / "schema.cedarschema").read_text(encoding="utf-8")
        found = cedarpy.validate_policies(text, schema)
        if not found.validation_passed:
            wrong = "; ".join(str(error) for error in found.errors)
            raise Misconfigured(f"The access policies do not fit their schema, so nothing starts: {wrong}.")
        self._policies = cedarpy.PolicySet.from_str(text)
        self._schema = cedarpy.Schema.from_str(schema)

    def decide(self, question: Question) -> Answer:
        """Answer a question. Never raises: what cannot be decided is denied, and says so in `errors`."""
        if (question.subject is not None) != (question.action in ON_PATIENTS):
            return Answer(allowed=False, errors=("the question names no subject, or one too many",))
        try:
            result = cedarpy.is_authorized(
                _request(question), self._policies, json.dumps(_entities(question)), self._schema
            )
        except Exception:  # noqa: BLE001 - whatever fails in an evaluation, the answer is no
            return Answer(allowed=False, errors=(_FAILED,))
        errors = tuple(result.diagnostics.errors)
        names: Mapping[str, str] = result.diagnostics.id_annotations_by_reason
        policies = tuple(sorted(names.get(reason, reason) for reason in result.diagnostics.reasons))
        return Answer(result.allowed and not errors, policies, errors)


def _request(question: Question) -> dict[str, Any]:
    account, subject = question.account, question.subject
    data = question.data.value if question.data is not None else ""
    resource = _SITE if subject is None else {"type": "Patient", "id": subject.patient}
    return {
        "principal": {"type": "Account", "id": account.name},
        "action": {"type": "Action", "id": question.action.value},
        "resource": resource,
        "context": {
            "account": account.name,
            "data": data,
            "byRole": f"{account.role.value}:{data}",
            "byOrganization": f"organization:{account.organization}:{data}",
            "reasonLength": len(question.reason.strip()),
            "secondFactor": question.second_factor,
            "glassBroken": question.glass_broken,
            "byToken": question.by_token,
        },
    }


def _entities(question: Question) -> list[dict[str, Any]]:
    found = [_account(question.account)]
    if question.subject is None:
        return [*found, {"uid": _SITE, "attrs": {}, "parents": []}]
    subject = question.subject
    attributes = {
        "name": subject.patient,
        "team": sorted(subject.team),
        "organizations": sorted(subject.organizations),
        "consented": sorted(subject.consented),
    }
    uid = {"type": "Patient", "id": subject.patient}
    return [*found, {"uid": uid, "attrs": attributes, "parents": []}]


def _account(account: Account) -> dict[str, Any]:
    attributes = {
        "role": account.role.value,
        "organization": account.organization,
        "active": account.active,
        "patients": sorted(account.patients),
    }
    return {"uid": {"type": "Account", "id": account.name}, "attrs": attributes, "parents": []}
