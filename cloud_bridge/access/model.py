"""The words of access: roles, actions, kinds of data, and what a decision is asked about. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What an account is to the patients."""

    NURSE = "nurse"
    PHYSICIAN = "physician"
    FAMILY_DOCTOR = "family_doctor"
    PHARMACIST = "pharmacist"
    PATIENT = "patient"
    DELEGATE = "delegate"  # somebody the patient chose, as a daughter
    INSTALLER = "installer"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class DataType(StrEnum):
    """Kinds of data that a consent speaks of one by one."""

    BLOOD_PRESSURE = "blood_pressure"
    GLUCOSE = "glucose"
    BODY = "body"  # weight and body composition
    TEMPERATURE = "temperature"
    OXIMETRY = "oximetry"
    ALERTS = "alerts"
    MEDICATION = "medication"


class Action(StrEnum):
    """What may be done to a patient's data, or to the bridge itself."""

    READ = "read"
    ACKNOWLEDGE = "acknowledge"  # and move on, resolve, escalate
    ASSIGN = "assign"  # say whose a reading is
    CONSENT = "consent"  # give and withdraw
    BREAK_GLASS = "break_glass"  # read without membership, with a reason, reviewed afterwards
    SEE_READERS = "see_readers"  # who read what of this patient, and what is consented
    TRIAGE = "triage"  # items of homes where nobody knows yet whose the reading is
    READ_AUDIT = "read_audit"
    REVIEW = "review"  # say what came of looking into an emergency read
    SEE_DEVICES = "see_devices"  # technical items: battery, clock, silent gateways
    RETRY_DELIVERY = "retry_delivery"
    MANAGE_ACCOUNTS = "manage_accounts"
    USE_API = "use_api"  # ask the interface for programs anything at all
    SIGN_IN = "sign_in"  # come in to the page
    TAKE_PLAN = "take_plan"  # what a discharge plan changed: the hospital's system says it, no account


ON_PATIENTS: Final = frozenset(
    {
        Action.READ,
        Action.ACKNOWLEDGE,
        Action.ASSIGN,
        Action.CONSENT,
        Action.BREAK_GLASS,
        Action.SEE_READERS,
    }
)
"""Actions whose resource is a patient; the others are done to the site."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. `patients` are those whom a patient's or delegate's account speaks for."""

    name: str
    role: Role
    organization: str
    active: bool = True
    patients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Subject:
    """The patient who is asked about: whose care team, and what is consented to whom.

    `team` are names of accounts; `organizations` those that look after the patient. `consented` are pairs
    "role:data type" and "organization:name:data type" that hold at this moment.
    """

    patient: str
    team: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()
    consented: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """May `account` do `action`? Without a subject it is asked about the site as a whole.

    `glass_broken`: the account broke the glass for this patient a short while ago. `by_token`: a program asks
    with a token of the account, and nobody sits in front of it.
    """

    account: Account
    action: Action
    subject: Subject | None = None
    data: DataType | None = None
    reason: str = ""
    second_factor: bool = False
    glass_broken: bool = False
    by_token: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision. `policies` are the ids of those that decided, `errors` of those that failed."""

    allowed: bool
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = field(default=())
