"""Who read what, emergencies and consents, in words. Pure; times and words come in."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.access.audit import DESTINATION, NOBODY, SOURCE, Entry, review_of
from cloud_bridge.access.consent import ORGANIZATION, Consent, Offer
from cloud_bridge.access.guard import AccessStore
from cloud_bridge.access.model import Account, Action, DataType, Role
from cloud_bridge.access.oidc import Identity
from cloud_bridge.access.texts import in_language, readable
from cloud_bridge.console.language import Language

ROLES: Final = {
    Role.NURSE: "nurse",
    Role.PHYSICIAN: "physician",
    Role.FAMILY_DOCTOR: "family doctor",
    Role.PHARMACIST: "pharmacist",
    Role.PATIENT: "patient",
    Role.DELEGATE: "somebody the patient chose",
    Role.INSTALLER: "installer",
    Role.AUDITOR: "auditor",
    Role.ADMINISTRATOR: "administrator",
}
KINDS: Final = {
    DataType.BLOOD_PRESSURE: "blood pressure",
    DataType.GLUCOSE: "glucose",
    DataType.BODY: "weight and body composition",
    DataType.TEMPERATURE: "temperature",
    DataType.OXIMETRY: "oxygen saturation",
    DataType.ALERTS: "alerts",
    DataType.MEDICATION: "medication",
}
ACTIONS: Final = {
    Action.READ: "read",
    Action.ACKNOWLEDGE: "said to have seen an item",
    Action.ASSIGN: "said whose a reading is",
    Action.CONSENT: "gave or withdrew a consent",
    Action.BREAK_GLASS: "opened in an emergency",
    Action.SEE_READERS: "looked at who read",
    Action.TRIAGE: "saw or took up items of unknown people",
    Action.READ_AUDIT: "read this record",
    Action.REVIEW: "reviewed an emergency",
    Action.SEE_DEVICES: "looked at devices",
    Action.RETRY_DELIVERY: "delivered again",
    Action.MANAGE_ACCOUNTS: "managed accounts",
    Action.USE_API: "used the interface for programs",
    Action.SIGN_IN: "signed in",
    Action.TAKE_PLAN: "carried out a discharge plan",
}


class Accounts(AccessStore, Protocol):
    """What the page asks of the store about people: sign-in, consents, the record."""

    def sign_in(self, name: str, password: str, code: str, now: dt.datetime) -> Account | None:
        """Return whose account it is, if everything is right; None otherwise."""
        ...

    def stamp(self, name: str) -> str:
        """Return what changes when an account is given new credentials."""
        ...

    def vouched(self, who: Identity, now: dt.datetime) -> Account:
        """Return whose account it is that a provider vouches for; raise `NotSignedIn` if nobody's."""
        ...

    def patient_numbered(self, number: str) -> str | None:
        """Return whose hospital number it is, exactly."""
        ...

    def consents(self, patient: str) -> Sequence[Consent]:
        """Return every consent that a patient ever gave."""
        ...

    def contents(self, digests: Collection[str]) -> Mapping[str, bytes]:
        """Return texts that consents name by hash (hex), without those that are not there as they were."""
        ...

    def offer(self, patient: str) -> Offer | None:
        """Return what a patient is asked to agree to now; None where no text is offered."""
        ...

    def give_consent(  # noqa: PLR0913 - a consent has these parts
        self,
        patient: str,
        to: str,
        data: DataType,
        *,
        text_version: str,
        by: str,
        now: dt.datetime,
        valid_until: dt.datetime | None = None,
    ) -> UUID:
        """Record a consent with its text; raise `Rejected` with why it is none."""
        ...

    def withdraw_consent(self, patient: str, to: str, data: DataType, *, by: str, now: dt.datetime) -> int:
        """Withdraw; return how many consents that were."""
        ...

    def newest(
        self,
        limit: int,
        patient: str | None = None,
        actions: Sequence[Action] = (),
        *,
        yes_only: bool = False,
        before: int | None = None,
    ) -> Sequence[Entry]:
        """Return entries of the record, the newest first, before one that was seen."""
        ...

    def emergencies(self, limit: int) -> Sequence[tuple[Entry, Entry | None]]:
        """Return when the glass was broken, the newest first, each with its review if there is one."""
        ...

    def broken_at(self, head: bytes | None = None) -> int | None:
        """Return the first entry that is not as it was written; None if the whole chain holds."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the record, in words."""

    number: int
    at: str
    account: str
    role: str
    what: str
    patient: str
    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Emergency:
    """One broken glass; `reviewed` says when, by whom and with which remark, None while nobody looked."""

    line: Line
    reviewed: str | None


@dataclass(frozen=True, slots=True)
class Agreed:
    """One consent, in words; `to` and `data` as the form sends them back.

    `text`: what was agreed to, in `language`; empty if it cannot be shown here, and `note` says why.
    """

    to: str
    data: str
    whom: str
    what: str
    text_version: str
    since: str
    state: str
    holds: bool
    text: str
    language: str
    note: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person is asked to agree to, in words: whom and what as (form's value, words), and the text."""

    version: str
    digest: str
    text: str
    language: str
    whom: tuple[tuple[str, str], ...]
    what: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Own:
    """What one person's page says."""

    patient: str
    title: str
    lines: tuple[Line, ...]
    consents: tuple[Agreed, ...]
    may_withdraw: bool
    asked: Asked | None = None


def lines(entries: Iterable[Entry], words: Language, zone: dt.tzinfo) -> tuple[Line, ...]:
    """Return entries in words."""
    return tuple(_line(one, words, zone) for one in entries)


def emergencies(
    found: Iterable[tuple[Entry, Entry | None]], words: Language, zone: dt.tzinfo
) -> tuple[Emergency, ...]:
    """Return emergencies in words."""
    return tuple(Emergency(_line(one, words, zone), _reviewed(one, by, words, zone)) for one, by in found)


def digests(given: Iterable[Consent]) -> frozenset[str]:
    """Return what texts are needed to show some consents."""
    return frozenset(text.digest for one in given for text in one.texts)


def consents(
    given: Iterable[Consent],
    texts: Mapping[str, bytes],
    words: Language,
    zone: dt.tzinfo,
    now: dt.datetime,
) -> tuple[Agreed, ...]:
    """Return consents in words, those that hold first; `texts` are what was kept, by hash."""
    ordered = sorted(given, key=lambda one: (not one.holds(now), one.given_at))
    return tuple(_agreed(one, texts, words, zone, now) for one in ordered)


def asked(offer: Offer | None, words: Language) -> Asked | None:
    """Return an offer in words; None if nothing is offered."""
    if offer is None:
        return None
    text = next(one for one in offer.texts if one.language == words.tag)
    return Asked(
        version=offer.version,
        digest=offer.digest,
        text=readable(text.content_type, text.content) or "",
        language=text.language,
        whom=tuple((to, _whom(to, words)) for to in offer.recipients),
        what=tuple((kind.value, words.say(KINDS[kind])) for kind in KINDS),
    )


def _whom(to: str, words: Language) -> str:
    if to.startswith(ORGANIZATION):
        return to.removeprefix(ORGANIZATION)
    return words.say(ROLES[Role(to)])


def _line(one: Entry, words: Language, zone: dt.tzinfo) -> Line:
    what = words.say(ACTIONS[one.action])
    if one.data is not None:
        what = words.say("{action}: {data}", action=what, data=words.say(KINDS[one.data]))
    return Line(
        number=one.number,
        at=words.moment(one.at, zone),
        account=one.account,
        role=_role(one, words),
        what=what,
        patient=one.patient or "",
        allowed=one.allowed,
        reason=one.reason,
    )


def _role(one: Entry, words: Language) -> str:
    if one.role in {DESTINATION, SOURCE}:
        return words.say("another system")
    if one.role == NOBODY:
        return words.say("nobody known")
    return words.say(ROLES[Role(one.role)])


def _reviewed(one: Entry, by: Entry | None, words: Language, zone: dt.tzinfo) -> str | None:
    if by is None:
        return None
    remark = by.reason.removeprefix(review_of(one.number, ""))
    return words.say("{when}, {who}: {remark}", when=words.moment(by.at, zone), who=by.account, remark=remark)


def _agreed(
    one: Consent, texts: Mapping[str, bytes], words: Language, zone: dt.tzinfo, now: dt.datetime
) -> Agreed:
    text, language, note = _text(one, texts, words)
    return Agreed(
        to=one.to,
        data=one.data.value,
        whom=_whom(one.to, words),
        what=words.say(KINDS[one.data]),
        text_version=one.text_version,
        since=words.moment(one.valid_from, zone),
        state=_state(one, words, zone, now),
        holds=one.holds(now),
        text=text,
        language=language,
        note=note,
    )


def _text(one: Consent, texts: Mapping[str, bytes], words: Language) -> tuple[str, str, str]:
    """Return what was agreed to, its language, and why it is not shown."""
    kept = in_language(one.texts, words.tag)
    if kept is None:
        return "", "", words.say("The text was not kept.")
    if kept.digest not in texts:
        return "", "", words.say("The text is not as it was kept. Tell the hospital.")
    text = readable(kept.content_type, texts[kept.digest])
    if text is None:
        return (
            "",
            "",
            words.say("The text is kept as {kind}: ask the hospital for it.", kind=kept.content_type),
        )
    return text, kept.language, ""


def _state(one: Consent, words: Language, zone: dt.tzinfo, now: dt.datetime) -> str:
    if one.withdrawn_at is not None:
        return words.say("withdrawn {when}", when=words.moment(one.withdrawn_at, zone))
    if not one.holds(now):
        return words.say("not in force now")
    if one.valid_until is None:
        return words.say("holds until withdrawn")
    return words.say("holds until {when}", when=words.moment(one.valid_until, zone))
