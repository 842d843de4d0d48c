"""Decisions by Cedar policies. No by default, and whenever a policy fails: Cedar skips a failing `forbid`."""

import json
from collections.abc import Hashable, Mapping
from importlib.resources import files
from typing import Any, Final

import cedarpy

from cloud_bridge.access.model import ON_PATIENTS, Account, Answer, Question, Subject
from wire_format.errors import Misconfigured

Known = dict[Hashable, Answer]
"""Answers that hold for as long as what they stood on does: for one request."""
NOBODY: Final = Subject("")
_SITE: Final = {"type": "Site", "id": "site"}
_FAILED: Final = "the policies could not be evaluated"
_SHARED: Final = frozenset({"team", "organizations", "consented"})
"""What patients may have in common."""
_OWN: Final = {
    "contains": {
        "left": {".": {"left": {"Var": "principal"}, "attr": "patients"}},
        "right": {".": {"left": {"Var": "resource"}, "attr": "name"}},
    }
}
"""Whether somebody's account speaks for a patient."""


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
        said = json.loads(cedarpy.policies_to_json_str(text))
        self._names_nobody = not said.get("templates") and _names_nobody(said["staticPolicies"])
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

    def decide_once(self, question: Question, known: Known) -> Answer:
        """Answer a question; what the policies cannot tell from one in `known` is not decided again.

        Two patients cannot be told apart if the policies look at no more of a patient than team,
        organizations, consents, and whether the account speaks for them, and these are equal.
        """
        key = self._alike(question)
        if key not in known:
            known[key] = self.decide(question)
        return known[key]

    def _alike(self, question: Question) -> Hashable:
        subject = question.subject
        if subject is None or not self._names_nobody:
            return question
        of = (subject.team, subject.organizations, subject.consented)
        own = subject.patient in question.account.patients
        asked = (question.action, question.data, question.reason)
        return question.account, *asked, question.second_factor, question.glass_broken, *of, own


def _names_nobody(said: Any) -> bool:  # noqa: ANN401 - policies as JSON
    """Tell whether policies look at nothing of a patient but what several may have in common."""
    if isinstance(said, list):
        return all(map(_names_nobody, said))
    if not isinstance(said, dict) or said == _OWN:
        return True
    if said == {"Var": "resource"}:
        return False
    part = said.get(".")
    if isinstance(part, dict) and part.get("left") == {"Var": "resource"}:
        return part.get("attr") in _SHARED
    if "effect" in said and said.get("resource") != {"op": "All"}:
        return False
    return all(map(_names_nobody, said.values()))


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
