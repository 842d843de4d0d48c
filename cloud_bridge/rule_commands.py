"""Commands about rules: what is agreed with a patient, what rules refused, and how a finding came about."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from cloud_bridge import config as configuration
from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Account, Action, Answer, Question, Role, Subject
from cloud_bridge.alerts import Act, Actor, Move, Outcome
from cloud_bridge.orders import reason_line
from cloud_bridge.rehearsal.histories import written
from cloud_bridge.replay import found_again
from cloud_bridge.rule_yield import yield_by_rule
from cloud_bridge.rules.base import Queue
from cloud_bridge.rules.programme import DEFAULT_PROGRAMME, check_own, programme
from cloud_bridge.rules.refusals import refusal
from cloud_bridge.store.base import Stated
from service_kit.key_files import read_private
from wire_format.errors import Misconfigured, Rejected
from wire_format.keys import BridgeKeys

if TYPE_CHECKING:
    from cloud_bridge.store.sql import SqlStore

commands: Final = typer.Typer(no_args_is_help=True, help="Rules: what is agreed, refused and found.")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]
PatientName = Annotated[str, typer.Argument(help="The registry's name of the patient.")]
Author = Annotated[str, typer.Option(help="Who says so.")]
Reason = Annotated[str, typer.Option(help="Why.")]


@commands.command()
def agree(  # noqa: PLR0913, PLR0917 - a statement has these parts
    patient: PatientName,
    rule: Annotated[str, typer.Argument(help="As BP-CONSECUTIVE.")],
    parameter: Annotated[str, typer.Argument(help="As systolic.")],
    value: Annotated[str, typer.Argument(help='JSON, as {"mmhg": "150", "kpa": "20.0"}; null: the default.')],
    author: Author,
    reason: Reason,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Give a patient a value of their own for a parameter of a rule. Judged again at once."""
    try:
        text = json.dumps(json.loads(value), sort_keys=True, ensure_ascii=False)
    except json.JSONDecodeError as error:
        raise Misconfigured(f"The value is no JSON ({error}): quote texts, as '\"2026-12-01\"'.") from error
    check_own(rule, parameter, text)
    with _store(config) as store:
        new = store.registry.agree(patient, rule, parameter, text, Stated(author, reason, _now()))
    _print({"patient": patient, "rule": rule, "parameter": parameter, "changed": new})


@commands.command()
def join(
    patient: PatientName,
    programmes: Annotated[list[str], typer.Argument(help="All of them, the most important first.")],
    author: Author,
    reason: Reason,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Put a patient into programmes; those that are not named end."""
    for name in programmes:
        programme(name)
    with _store(config) as store:
        store.registry.join(patient, programmes, Stated(author, reason, _now()))
    _print({"patient": patient, "programmes": programmes})


@commands.command()
def refused(
    patient: PatientName,
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 14,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print the readings of a patient that no rule stands on, each with its reason. No value is printed."""
    with _store(config) as store:
        readings = store.alerts.history(patient, None, _now() - dt.timedelta(days=days))
    _print(
        [
            {
                "measurement": str(r.id),
                "quantity": r.measurement.quantity.value,
                "measured": None if r.measured is None else r.measured.utc.isoformat(),
                "reason": reason.value,
            }
            for r in readings
            if (reason := refusal(r)) is not None
        ]
    )


@commands.command()
def equipment(
    language: Annotated[str, typer.Option(help='"en" or "zh-Hans".')] = "en",
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print what an installer has to look at, the most urgent first."""
    with _store(config) as store:
        alerts = store.alerts.open_alerts(Queue.INSTALLER)
    _print(
        [
            {
                "alert": str(a.alert_id),
                "home": a.finding.subject.partition(":")[2],
                "what": reason_line(a, language),
                "since": a.finding.since.isoformat(),
                "state": a.state.value,
            }
            for a in alerts
        ]
    )


@commands.command("yield")
def yields(
    days: Annotated[int, typer.Option(min=1, help="Of items raised in so many days.")] = 90,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print how many of each rule's items were acted on, of how many it raised; the least useful first."""
    with _store(config) as store:
        raised = store.alerts.yields(_now() - dt.timedelta(days=days))
    _print(yield_by_rule(raised))


@commands.command()
def repaired(
    alert: Annotated[UUID, typer.Argument(help="As `equipment` prints it.")],
    author: Author,
    false_alarm: Annotated[bool, typer.Option("--false-alarm", help="There was nothing to repair.")] = False,  # noqa: FBT002 - typer's way to a flag
    note: Annotated[str, typer.Option(help="What was done.")] = "",
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Close an installer's item."""
    outcome = Outcome.FALSE_ALARM if false_alarm else Outcome.REPAIRED
    with _store(config) as store:
        found = store.alerts.alert(alert)
        if found is None or found.finding.queue is not Queue.INSTALLER:
            raise Rejected(f"There is no such item of the installer's: {alert}.")
        act = Act(Move.RESOLVE, Actor.PERSON, _now(), author, outcome, note)
        taken = store.alerts.move(alert, act)
    _print(
        {
            "alert": str(alert),
            "held": taken.held,
            "state": taken.alert.state.value,
            "by": taken.alert.moved_by,
        }
    )


@commands.command()
def replay(
    alert: Annotated[UUID, typer.Argument(help="The alert's id.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Find an alert's findings again from what they stood on; say of each whether it is the same.

    Beside it stand the consents that held at that moment: who was allowed to hear of it.
    """
    with _store(config) as store:
        judged = store.judgements.of_alert(alert)
        subjects = {one.finding.subject for one in judged}
        given = [consent for one in subjects for consent in store.access.consents(one)]
    _print(
        [
            {
                "revision": one.revision,
                "judged_at": one.judged_at.isoformat(),
                "rule": one.finding.rule,
                "programme": one.finding.programme,
                "version": one.finding.version,
                "readings": len(one.readings),
                "consents": [
                    {"to": c.to, "data": c.data.value, "text_version": c.text_version}
                    for c in given
                    if c.given_at <= one.judged_at and c.holds(one.judged_at)
                ],
                "same": found_again(one),
            }
            for one in judged
        ]
    )


@commands.command()
def history(
    author: Author,
    reason: Reason,
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 90,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print what was measured, as `cloud-bridge rehearse --history` takes it: without names, values and all.

    That it was read is on record, by patient and kind of data. A patient's first programme is their group.
    """
    since, lines = _now() - dt.timedelta(days=days), []
    with _store(config) as store:
        patients = store.listings.patients(None)
        for number, patient in enumerate(patients, start=1):
            readings = store.alerts.history(patient, None, since)
            joined = store.alerts.settings(patient).programmes
            group = joined[0].programme if joined else DEFAULT_PROGRAMME
            lines += written(f"patient-{number}", group, readings)
            for data in sorted({DATA_OF[one.measurement.quantity] for one in readings}):
                account = Account(author, Role.ADMINISTRATOR, "")
                asked = Question(account, Action.READ, Subject(patient), data, f"rehearsal: {reason}")
                store.access.record(asked, Answer(allowed=True), _now())
    for line in lines:
        typer.echo(line)


@contextmanager
def _store(config: Path) -> "Iterator[SqlStore]":
    from cloud_bridge.app import open_store  # noqa: PLC0415 - the other commands need no store

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        yield store
    finally:
        store.close()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _print(shown: Any) -> None:  # noqa: ANN401 - any JSON value
    typer.echo(json.dumps(shown, ensure_ascii=False))
