"""One discharge plan being taken: the transaction that everything is done in, and each step on record."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from cloud_bridge.access.audit import SOURCE, Entry, stated
from cloud_bridge.access.model import Action
from cloud_bridge.discharge.terms import Defaults
from cloud_bridge.duty import Duty
from cloud_bridge.store.audit_chain import append


@dataclass(slots=True)
class Taking:
    """What a plan is taken with. `source` is who brought it; `patient` is known after they were found.

    `zone` is where patients live if nothing else was said.
    """

    connection: Connection
    destinations: Sequence[str]
    zone: str
    duty: Duty
    defaults: Defaults
    source: str
    now: dt.datetime
    patient: str | None = None
    steps: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def step(self, what: str) -> None:
        """Note a step, and put it on record: what was done, without any value."""
        self.steps.append(what)
        note(self.connection, (self.source, self.patient), what, self.now)


def note(connection: Connection, who: tuple[str, str | None], what: str, now: dt.datetime) -> None:
    """Put on record what a source (and whose plan, if that is known) had us do."""
    source, patient = who

    def made(number: int, before: bytes) -> Entry:
        return stated(number, before, now, (source, SOURCE), Action.TAKE_PLAN, what, patient=patient)

    append(connection, made)
