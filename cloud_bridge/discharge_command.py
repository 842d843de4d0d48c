"""`cloud-bridge discharge`: take a discharge plan from a file, whole and once."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud_bridge import config as configuration
from service_kit.key_files import read_private
from wire_format.errors import Misconfigured
from wire_format.keys import BridgeKeys

SOURCE: Final = "cli"


def discharge(
    file: Annotated[Path, typer.Argument(help="A FHIR R4 Bundle as JSON.")],
    config: Annotated[
        Path, typer.Option("--config", help="The configuration file.")
    ] = configuration.DEFAULT_PATH,
) -> None:
    """Take a discharge plan: patient, programmes, thresholds, first visit, reminders. May be repeated.

    Prints what was done, and what people should look at, as JSON.
    """
    from cloud_bridge.app import open_store, utc_now  # noqa: PLC0415 - the other commands need no store
    from cloud_bridge.discharge.fhir_plan import plan_of  # noqa: PLC0415 - as above

    loaded = configuration.load(config)
    if loaded.discharge is None:
        raise Misconfigured(f"{config}: no discharge plan is taken here: write [discharge].")
    document = _document(file)
    plan = plan_of(document, loaded.discharge.terms(loaded.zone), utc_now())
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        done = store.discharges.take(plan, loaded.discharge.defaults(), SOURCE, utc_now())
    finally:
        store.close()
    shown = {
        "plan": str(done.plan_id),
        "patient": done.patient,
        "became": done.became.value,
        "steps": done.steps,
        "remarks": done.remarks,
    }
    typer.echo(json.dumps(shown, ensure_ascii=False))


def _document(file: Path) -> object:
    """Return a file's JSON, each number with its digits."""
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file} cannot be read as JSON: give a FHIR R4 Bundle.") from error
    return found
