"""Who may do what: the whole matrix, and every way in which a decision can fail."""

import itertools
from importlib.resources import files
from pathlib import Path

import pytest

from cloud_bridge.access.engine import Engine, Known
from cloud_bridge.access.matrix import document, question
from cloud_bridge.access.model import (
    ON_PATIENTS,
    Account,
    Action,
    Answer,
    DataType,
    Question,
    Role,
    Subject,
)
from wire_format.errors import Misconfigured

pytestmark = pytest.mark.no_cover  # about access, which has no floor

ENGINE = Engine()
STAFF = set(Role) - {Role.PATIENT, Role.DELEGATE}
READERS = {Role.NURSE, Role.PHYSICIAN, Role.FAMILY_DOCTOR, Role.PHARMACIST}
PHARMACY = {DataType.MEDICATION, DataType.BLOOD_PRESSURE, DataType.GLUCOSE}
TRUTHS = list(itertools.product([False, True], repeat=4))


def reads(role: Role, data: DataType, *, team: bool, consent: bool, own: bool, second: bool) -> bool:
    """The rule in words of its own, beside the policies."""
    if role is Role.PATIENT:
        return own
    if role is Role.DELEGATE:
        return own and consent
    if role not in READERS or not second:
        return False
    return team and consent and (role is not Role.PHARMACIST or data in PHARMACY)


@pytest.mark.parametrize("role", Role)
def test_every_role_and_kind_of_data_under_every_condition(role: Role) -> None:
    for data, (team, consent, own, second) in itertools.product(DataType, TRUTHS):
        asked = question(role, Action.READ, data, team=team, consent=consent, own=own, second_factor=second)
        expected = reads(role, data, team=team, consent=consent, own=own, second=second)
        assert ENGINE.decide(asked).allowed is expected, asked


SITE = {
    Action.TRIAGE: {Role.NURSE, Role.PHYSICIAN},
    Action.REVIEW: {Role.AUDITOR},
    Action.READ_AUDIT: {Role.AUDITOR},
    Action.SEE_DEVICES: {Role.INSTALLER, Role.ADMINISTRATOR},
    Action.RETRY_DELIVERY: {Role.NURSE, Role.ADMINISTRATOR},
    Action.MANAGE_ACCOUNTS: {Role.ADMINISTRATOR},
    Action.USE_API: set(Role),
    Action.SIGN_IN: set(Role),
    Action.TAKE_PLAN: set(),  # the hospital's system says it, no account
}


@pytest.mark.parametrize("role", Role)
def test_what_is_done_to_the_site(role: Role) -> None:
    for action, (team, consent, own, second) in itertools.product(SITE, TRUTHS):
        asked = question(role, action, None, team=team, consent=consent, own=own, second_factor=second)
        assert ENGINE.decide(asked).allowed is (role in SITE[action] and (second or role not in STAFF))


@pytest.mark.parametrize("role", Role)
def test_what_is_done_to_a_patient(role: Role) -> None:
    for team, consent, own, second in TRUTHS:
        holds = {"team": team, "consent": consent, "own": own, "second_factor": second}
        acts = role in {Role.NURSE, Role.PHYSICIAN} and second
        for action, expected in (
            (Action.ACKNOWLEDGE, acts and team and consent),
            (Action.ASSIGN, acts and team and consent),
            (Action.BREAK_GLASS, acts),
            (Action.CONSENT, role is Role.PATIENT and own),
            (Action.SEE_READERS, own and (role is Role.PATIENT or (role is Role.DELEGATE and consent))),
        ):
            asked = question(role, action, DataType.ALERTS, **holds)
            assert ENGINE.decide(asked).allowed is expected, (role, action, holds)


@pytest.mark.parametrize("role", Role)
def test_a_broken_glass_opens_reading_to_those_who_may_break_it_and_nothing_else(role: Role) -> None:
    for action, data in itertools.product(Action, DataType):
        for team, consent, own, second in TRUTHS:
            holds = {"team": team, "consent": consent, "own": own, "second_factor": second}
            before = ENGINE.decide(question(role, action, data, **holds)).allowed
            opens = action is Action.READ and role in {Role.NURSE, Role.PHYSICIAN} and second
            asked = question(role, action, data, **holds, glass_broken=True)
            assert ENGINE.decide(asked).allowed is (before or opens), asked


def test_an_account_that_is_not_active_may_nothing() -> None:
    for role, action in itertools.product(Role, Action):
        asked = question(role, action, DataType.ALERTS, team=True, consent=True, own=True, active=False)
        answer = ENGINE.decide(asked)
        assert not answer.allowed
        assert "only-active-accounts" in answer.policies


def test_consent_to_an_organization_counts_for_its_people_alone() -> None:
    subject = Subject(
        "p", organizations=frozenset({"clinic"}), consented=frozenset({"organization:clinic:glucose"})
    )
    for organization, allowed in (("clinic", True), ("other", False)):
        doctor = Account("d", Role.FAMILY_DOCTOR, organization)
        asked = Question(doctor, Action.READ, subject, DataType.GLUCOSE, second_factor=True)
        assert ENGINE.decide(asked).allowed is allowed


def test_a_reason_is_more_than_a_word() -> None:
    for reason, allowed in (("", False), ("urgent   ", False), ("unconscious, no history", True)):
        asked = question(
            Role.NURSE, Action.BREAK_GLASS, None, team=False, consent=False, own=False, reason=reason
        )
        assert ENGINE.decide(asked).allowed is allowed


FAILING = """
@id("everybody") permit (principal, action, resource);
@id("no") forbid (principal, action, resource) when { context.reasonLength + 9223372036854775807 > 0 };
"""


def test_a_policy_that_fails_makes_the_answer_no() -> None:
    """Cedar skips a failing forbid and says Allow; the engine says no, and what failed."""
    engine = Engine(FAILING)
    asked = question(Role.NURSE, Action.READ, DataType.ALERTS, team=True, consent=True, own=False)
    answer = engine.decide(asked)
    assert not answer.allowed
    assert "overflow" in " ".join(answer.errors)
    fine = question(Role.NURSE, Action.READ, DataType.ALERTS, team=True, consent=True, own=False, reason="")
    assert (
        engine.decide(fine).allowed is False
    )  # 0 + the largest number is above 0: forbidden, without a failure


def test_a_question_that_makes_no_sense_is_denied() -> None:
    nurse = Account("n", Role.NURSE, "o")
    site = Question(nurse, Action.READ, None, DataType.ALERTS, second_factor=True)
    person = Question(nurse, Action.RETRY_DELIVERY, Subject("p"), second_factor=True)
    for asked in (site, person):
        assert ENGINE.decide(asked) == Answer(
            allowed=False, errors=("the question names no subject, or one too many",)
        )
    strange = Question(nurse, Action.READ, Subject("p", frozenset({1})), second_factor=True)  # type: ignore[arg-type]  # on purpose
    assert ENGINE.decide(strange).errors


@pytest.mark.parametrize(
    "policies",
    [
        "permit (principal, action, resource) when { principal.colour == 1 };",
        'permit (principal, action == Action::"fly", resource);',
        "permit (principal",
    ],
)
def test_policies_that_do_not_fit_keep_the_bridge_from_starting(policies: str) -> None:
    with pytest.raises(Misconfigured, match="policies"):
        Engine(policies)


def test_the_page_about_access_is_what_the_policies_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    assert page == document(ENGINE), "run: .venv/bin/python -m cloud_bridge.access.matrix > docs/access.md"
    assert set(ON_PATIENTS) | set(SITE) == set(Action)


# --- many at once ---

NAMED = """
@id("not-person-8")
forbid (principal, action == Action::"read", resource) when { resource.name == "person-8" };
"""
BY_SCOPE = """
@id("not-person-8")
forbid (principal, action == Action::"read", resource == Patient::"person-8");
"""


def people(count: int = 12) -> list[Subject]:
    teams = ({"nurse-1"}, {"nurse-2"})
    consents = (set(), {"nurse:alerts"}, {"patient:alerts", "delegate:alerts"})
    return [
        Subject(f"person-{n}", frozenset(teams[n % 2]), frozenset({"ward"}), frozenset(consents[n // 2 % 3]))
        for n in range(count)
    ]


@pytest.mark.parametrize("more", ["", NAMED, BY_SCOPE], ids=["as they are", "one is named", "by scope"])
@pytest.mark.parametrize("role", [Role.NURSE, Role.PATIENT, Role.DELEGATE, Role.AUDITOR])
def test_many_questions_have_the_answers_of_each(role: Role, more: str) -> None:
    packaged = (files("cloud_bridge.access") / "policies.cedar").read_text(encoding="utf-8")
    engine = Engine(packaged + more)
    one = Account("nurse-1", role, "elsewhere", patients=frozenset({"person-3", "person-4"}))
    asked = [
        Question(one, action, subject, DataType.ALERTS, "", second_factor=True, glass_broken=broken)
        for subject in people()
        for action in (Action.READ, Action.ACKNOWLEDGE)
        for broken in (False, True)
    ] + [Question(one, Action.TRIAGE, second_factor=True), Question(one, Action.READ)]
    known: Known = {}
    answers = [engine.decide_once(question, known) for question in asked]
    assert answers == [engine.decide(question) for question in asked]
    if role is Role.NURSE:
        assert len({answer.allowed for answer in answers}) == 2


class Counting(Engine):
    """Says how often it decided."""

    decided = 0

    def decide(self, question: Question) -> Answer:
        self.decided += 1
        return super().decide(question)


def test_what_cannot_be_told_apart_is_decided_once() -> None:
    engine, nurse = Counting(), Account("nurse-1", Role.NURSE, "ward")
    known: Known = {}
    for one in people(600):
        engine.decide_once(Question(nurse, Action.READ, one, DataType.ALERTS), known)
    assert engine.decided == 6
