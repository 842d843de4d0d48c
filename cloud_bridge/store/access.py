"""Access in SQL: accounts with their credentials, consents, and the chained record."""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Engine, select, update

from cloud_bridge.access.audit import BEGINNING, Entry, broken_at, entry, refusal, reviews
from cloud_bridge.access.consent import ORGANIZATION, READERS, Consent, Offer, consented, parse_recipient
from cloud_bridge.access.model import Account, Action, Answer, DataType, Question, Subject
from cloud_bridge.access.texts import Text, Texts, read_texts, there_must_be
from cloud_bridge.store import access_schema, consent_holds, consent_texts, schema
from cloud_bridge.store.accounts import SqlAccounts
from cloud_bridge.store.audit_chain import append
from cloud_bridge.store.consents import consents_of, insert, subjects_of, take
from cloud_bridge.store.engine import reading
from wire_format.errors import Rejected

_SHA256: Final = re.compile("[0-9a-f]{64}")


class SqlAccess(SqlAccounts):
    """What access keeps. Every method is one transaction."""

    def __init__(
        self,
        engine: Engine,
        texts: Texts | None = None,
        offered: str | None = None,
        recipients: Collection[str] = (),
    ) -> None:
        """`texts`: what can be agreed to; without, what comes with the package. `offered`: of which version.

        `recipients`: to whom, beside the roles and the organizations that have a key.
        """
        super().__init__(engine)
        self._offered, self._recipients = offered, frozenset(recipients)
        self._texts = read_texts() if texts is None else texts

    # --- consent ---

    def give_consent(  # noqa: PLR0913 - a consent has these parts
        self,
        patient: str,
        to: str,
        data: DataType,
        *,
        text_version: str,
        by: str,
        now: dt.datetime,
        valid_from: dt.datetime | None = None,
        valid_until: dt.datetime | None = None,
    ) -> UUID:
        """Record a consent with its text and return its id.

        What was held back for want of it is let go in the same transaction. Raises `Rejected` for an unknown
        patient or recipient, and for a version that has no text, or another one than when it was first named.
        """
        consent_id = uuid4()
        begins = valid_from or now
        with self._engine.begin() as connection:
            known = select(schema.patient.c.id).where(schema.patient.c.id == patient)
            if connection.execute(known).first() is None:
                raise Rejected(f"There is no patient {patient}: enrol the home first.")
            texts = there_must_be(self._texts, text_version)
            named = consent_texts.name(connection, text_version, texts, now)
            one = Consent(
                consent_id,
                patient,
                parse_recipient(to),
                data,
                text_version,
                begins,
                valid_until,
                by,
                now,
                texts=named,
            )
            insert(connection, one, texts, now)
            consent_holds.release(connection, patient, to, data, max(now, begins), now)
        return consent_id

    def offer(self, patient: str) -> Offer | None:
        """Return what a patient is asked to agree to now, and for whom; None where no text is offered."""
        if self._offered is None:
            return None
        table = access_schema.organization
        with reading(self._engine) as connection:
            keys = connection.execute(select(table.c.name)).scalars().all()
            before = {one.to for one in consents_of(connection, patient)}
        others = {*self._recipients, *before, *(ORGANIZATION + name for name in keys)}
        organizations = sorted(one for one in others if one.startswith(ORGANIZATION))
        return Offer(
            self._offered, self._texts[self._offered], (*(one.value for one in READERS), *organizations)
        )

    def withdraw_consent(self, patient: str, to: str, data: DataType, *, by: str, now: dt.datetime) -> int:
        """Withdraw every consent of a patient to somebody for one kind of data; return how many that were.

        What waits to be sent of this patient is looked at again at once.
        """
        table = access_schema.consent
        mine = (table.c.patient == patient) & (table.c.to == to) & (table.c.data == data.value)
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(table)
                .where(mine, table.c.withdrawn_at.is_(None))
                .values(withdrawn_at=now, withdrawn_by=by)
            )
            consent_holds.look_again(connection, patient, now)
        return changed.rowcount

    def take_consents(
        self, stated: Sequence[tuple[Consent, bool]], now: dt.datetime, texts: Collection[Text] = ()
    ) -> Counter[str]:
        """Keep what was stated elsewhere, all of it or nothing; each with whether it is void. See `take`.

        `texts`: what they name. What waits for a delivery follows, as when a consent is given or withdrawn
        here. Return how many of what there were, and of how many the text is not kept ("text_not_kept").
        """
        done: Counter[str] = Counter()
        with self._engine.begin() as connection:
            for one, void in stated:
                own = [text for text in texts if text.wording in one.texts]
                what, textless = take(connection, one, own, void=void, now=now)
                done[what] += 1
                done["text_not_kept"] += textless
                if what == "given":
                    begins = max(now, one.valid_from)
                    consent_holds.release(connection, one.patient, one.to, one.data, begins, now)
                elif what == "withdrawn":
                    consent_holds.look_again(connection, one.patient, now)
        return done

    def patient_known_as(self, system: str, value: str) -> str | None:
        """Return whose identifier it is; None if it is nobody's, or more than one's."""
        table = schema.patient
        query = select(table.c.id).where(table.c.system == system, table.c.value == value)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalars().all()
        return found[0] if len(found) == 1 else None

    def consents(self, patient: str) -> list[Consent]:
        """Return every consent that a patient ever gave, oldest first."""
        with reading(self._engine) as connection:
            return consents_of(connection, patient)

    def contents(self, digests: Collection[str]) -> dict[str, bytes]:
        """Return texts that consents name by hash (hex), without those that are not there as they were."""
        with reading(self._engine) as connection:
            return consent_texts.contents(connection, digests)

    def content(self, digest: str) -> bytes:
        """Return the text of a hash (hex), kept or to be agreed to; raises `Rejected` if there is none."""
        if _SHA256.fullmatch(digest) is not None:
            own = {one.wording.digest: one.content for texts in self._texts.values() for one in texts}
            found = own | self.contents([digest])
            if digest in found:
                return found[digest]
        raise Rejected(
            f"There is no text {digest!r} as it was kept: `cloud-bridge consent texts` and `consent list` "
            "print what there is as sha256."
        )

    def versions(self) -> list[tuple[str, Text, bool]]:
        """Return what can be agreed to, and of each text whether it is another than consents named before."""
        with reading(self._engine) as connection:
            return [
                (version, one, bool(consent_texts.changed(connection, version, [one])))
                for version, texts in sorted(self._texts.items())
                for one in texts
            ]

    def subject(self, patient: str, now: dt.datetime) -> Subject:
        """Return what decisions about a patient stand on at this moment."""
        table = schema.patient
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.id == patient)).one_or_none()
        if row is None:
            return Subject(patient)
        team = frozenset({row.nurse_value, row.physician_value})
        holds = consented(self.consents(patient), now)
        return Subject(patient, team, frozenset({row.organization_value}), holds)

    def subjects(self, patients: Collection[str], now: dt.datetime) -> dict[str, Subject]:
        """Return the same of many patients at once."""
        with reading(self._engine) as connection:
            return subjects_of(connection, patients, now)

    def patient_numbered(self, number: str) -> str | None:
        """Return whose hospital number it is, exactly; None if it is nobody's, or more than one's."""
        table = schema.patient
        with reading(self._engine) as connection:
            found = connection.execute(select(table.c.id).where(table.c.value == number)).scalars().all()
        return found[0] if len(found) == 1 else None

    # --- the record ---

    def record(self, question: Question, answer: Answer, now: dt.datetime) -> Entry:
        """Append a decision to the chain."""
        with self._engine.begin() as connection:
            return append(connection, lambda number, before: entry(number, before, now, question, answer))

    def refused(self, account: Account | None, reason: str, now: dt.datetime) -> Entry:
        """Append a sign-in that failed to the chain; see `refusal`."""
        with self._engine.begin() as connection:
            return append(connection, lambda number, before: refusal(number, before, now, account, reason))

    def entries(
        self, patient: str | None = None, action: Action | None = None
    ) -> Iterator[tuple[Entry, bytes]]:
        """Yield entries by number, each with the hash beside it; of one patient, of one action, or all."""
        table = access_schema.audit
        query = select(table).order_by(table.c.number)
        if patient is not None:
            query = query.where(table.c.patient == patient)
        if action is not None:
            query = query.where(table.c.action == action.value)
        with reading(self._engine) as connection:
            for row in connection.execute(query):
                yield entry_of(row), row.digest

    def newest(
        self,
        limit: int,
        patient: str | None = None,
        actions: Sequence[Action] = (),
        *,
        yes_only: bool = False,
        before: int | None = None,
    ) -> list[Entry]:
        """Return entries, the newest first: of a patient, of some actions, only yes, before a number."""
        table = access_schema.audit
        query = select(table).order_by(table.c.number.desc()).limit(limit)
        if patient is not None:
            query = query.where(table.c.patient == patient)
        if actions:
            query = query.where(table.c.action.in_([action.value for action in actions]))
        if yes_only:
            query = query.where(table.c.allowed)
        if before is not None:
            query = query.where(table.c.number < before)
        with reading(self._engine) as connection:
            return [entry_of(row) for row in connection.execute(query)]

    def emergencies(self, limit: int) -> list[tuple[Entry, Entry | None]]:
        """Return when the glass was broken, the newest first, each with its review if there is one."""
        broken = self.newest(limit, actions=[Action.BREAK_GLASS], yes_only=True)
        looked_into = reviews(one for one, _ in self.entries(action=Action.REVIEW))
        return [(one, looked_into.get(one.number)) for one in broken]

    def head(self) -> tuple[int, bytes]:
        """Return number and hash of the last entry; 0 and `BEGINNING` if there is none."""
        table = access_schema.audit
        query = select(table.c.number, table.c.digest).order_by(table.c.number.desc()).limit(1)
        with reading(self._engine) as connection:
            last = connection.execute(query).one_or_none()
        return (0, BEGINNING) if last is None else (last.number, last.digest)

    def broken_at(self, head: bytes | None = None) -> int | None:
        """Return the first entry that is not as it was written; None if the whole chain holds."""
        return broken_at(self.entries(), head)


def entry_of(row: Any) -> Entry:  # noqa: ANN401 - a row
    """Return a row of the record."""
    return Entry(
        row.number,
        row.at,
        row.account,
        row.role,
        Action(row.action),
        row.patient,
        None if row.data is None else DataType(row.data),
        row.allowed,
        tuple(json.loads(row.policies)),
        row.reason,
        row.before,
    )
