"""`cloud-bridge account`, `consent` and `audit`: who may come in, what patients agreed to, who read what."""

import datetime as dt
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from cloud_bridge import config as configuration
from cloud_bridge.access.model import Account, Action, DataType, Role
from service_kit.key_files import read_private
from wire_format.errors import Misconfigured, Rejected
from wire_format.keys import BridgeKeys

accounts: Final = typer.Typer(no_args_is_help=True, help="Who may sign in to the page.")
consents: Final = typer.Typer(no_args_is_help=True, help="What patients agreed to.")
audits: Final = typer.Typer(no_args_is_help=True, help="Who read and did what.")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Name = Annotated[str, typer.Argument(help="The account: a staff number that the hospital's system knows.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="A file with the password in its first line; else it is asked for.")
]
NoLocal = Annotated[bool, typer.Option("--no-local", help="Only the hospital's provider brings it in.")]
Patient = Annotated[str, typer.Argument(help="The patient, as the enrolment names them.")]
Recipient = Annotated[str, typer.Argument(help="A role, as nurse; or organization:NAME.")]
By = Annotated[str, typer.Option(help="Who states it: the patient, or who took it down.")]


@contextmanager
def _access(config: Path) -> Iterator[tuple[Any, dt.datetime]]:
    """Open what the store keeps of access; and the time."""
    with _store(config) as (store, now):
        yield store.access, now


@contextmanager
def _store(config: Path) -> Iterator[tuple[Any, dt.datetime]]:
    """Open the store; and the time."""
    from cloud_bridge.app import open_store, utc_now  # noqa: PLC0415 - other commands need no store

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        yield store, utc_now()
    finally:
        store.close()


def _password(file: Path | None) -> str:
    """Return a password that never stood on a command line."""
    if file is not None:
        try:
            return (file.read_text().splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{file} cannot be read: write the password into its first line.") from error
    if not sys.stdin.isatty():
        raise Misconfigured("There is no terminal to ask for the password: give --password-file.")
    first, second = getpass.getpass("Password: "), getpass.getpass("Once more: ")
    if first != second:
        raise Rejected("The two passwords are not the same: nothing was changed.")
    return first


def _typed_by() -> str:
    """Return who typed the command, as the operating system knows them: behind `sudo`, who is before it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # whom the machine has no name for


@accounts.command()
def add(  # noqa: PLR0913, PLR0917 - a command has its options
    name: Name,
    role: Annotated[Role, typer.Option(help="What the account is to the patients.")],
    organization: Annotated[str, typer.Option(help="As the enrolment names it, as ward-1.")],
    patient: Annotated[list[str] | None, typer.Option(help="For patients and delegates: whose.")] = None,
    password_file: PasswordFile = None,
    no_local: NoLocal = False,  # noqa: FBT002 - an option
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Add an account, and print the address for its authenticator app, once."""
    from cloud_bridge.access.passwords import new_credentials, no_password, provisioning  # noqa: PLC0415 - as above

    if not name.isprintable() or not name.strip() or len(name) > 64:  # noqa: PLR2004 - the column
        raise Misconfigured("The name of an account has 1 to 64 characters that can be read.")
    credentials = no_password() if no_local else new_credentials(_password(password_file))
    account = Account(name, role, organization, patients=frozenset(patient or ()))
    with _access(config) as (access, now):
        access.add_account(account, credentials, now, _typed_by())
    typer.echo(
        json.dumps({"account": name, "authenticator": None if no_local else provisioning(name, credentials)})
    )


@accounts.command()
def reset(
    name: Name, password_file: PasswordFile = None, config: ConfigPath = configuration.DEFAULT_PATH
) -> None:
    """Give an account a new password and a new second factor, and unlock it."""
    from cloud_bridge.access.passwords import new_credentials, provisioning  # noqa: PLC0415 - as above

    credentials = new_credentials(_password(password_file))
    with _access(config) as (access, now):
        access.set_credentials(name, credentials, now, _typed_by())
    typer.echo(json.dumps({"account": name, "authenticator": provisioning(name, credentials)}))


@accounts.command()
def disable(name: Name, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Let an account do nothing from now on, also where it is signed in."""
    with _access(config) as (access, now):
        access.set_active(name, active=False, now=now, by=_typed_by())


@accounts.command()
def enable(name: Name, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Let an account in again."""
    with _access(config) as (access, now):
        access.set_active(name, active=True, now=now, by=_typed_by())


@accounts.command()
def bind(
    name: Name,
    subject: Annotated[str, typer.Argument(help="What the provider calls this person (sub), exactly.")],
    by: Annotated[str, typer.Option(help="Who made sure that it is this person.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Say which of the hospital's provider's subjects an account is, so that it signs in there."""
    from cloud_bridge.access.oidc import Identity  # noqa: PLC0415 - as above

    page = configuration.load(config).page
    if page is None or page.oidc is None:
        raise Misconfigured("There is no [page.oidc]: write who the provider is first.")
    with _access(config) as (access, now):
        access.bind(name, Identity(page.oidc.issuer, subject), by, now)


@accounts.command()
def unbind(name: Name, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Forget which subjects an account is, and end what is signed in."""
    with _access(config) as (access, now):
        count = access.unbind(name, now, _typed_by())
    typer.echo(json.dumps({"unbound": count}))


@accounts.command("list")
def list_accounts(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print every account, as JSON."""
    with _access(config) as (access, _):
        bound = access.bound()
        shown = [
            {
                "name": one.name,
                "role": one.role.value,
                "organization": one.organization,
                "active": one.active,
                "patients": sorted(one.patients),
                "bound": bound.get(one.name, []),
            }
            for one in access.accounts()
        ]
    typer.echo(json.dumps(shown, ensure_ascii=False))


@accounts.command()
def token(
    name: Name,
    days: Annotated[int, typer.Option(help="How long it lasts, 366 at most.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Make a token by which a program asks as this account, and print it, once."""
    from cloud_bridge.access.tokens import issue  # noqa: PLC0415 - as above

    with _store(config) as (store, now):
        text, made = issue(name, store.access.stamp(name), days, now)
        store.tokens.add(made, text, _typed_by())
    until = made.expires_at.isoformat()
    typer.echo(json.dumps({"account": name, "id": made.token_id, "until": until, "token": text}))


@accounts.command()
def tokens(
    name: Annotated[str | None, typer.Argument(help="Of one account only.")] = None,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print what is kept of tokens, as JSON; the tokens themselves are kept nowhere."""
    with _store(config) as (store, now):
        shown = [
            {
                "id": one.token_id,
                "account": one.account,
                "created": one.created_at.isoformat(),
                "until": one.expires_at.isoformat(),
                "revoked": None if one.revoked_at is None else one.revoked_at.isoformat(),
                "used": None if one.used_at is None else one.used_at.isoformat(),
                "holds": one.holds(store.access.stamp(one.account), now),
            }
            for one in store.tokens.tokens(name)
        ]
    typer.echo(json.dumps(shown, ensure_ascii=False))


@accounts.command("revoke-token")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="As `tokens` prints it.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Let a token open nothing from now on."""
    with _store(config) as (store, now):
        store.tokens.revoke(token_id, now, _typed_by())


@consents.command()
def give(  # noqa: PLR0913, PLR0917 - a command has its options
    patient: Patient,
    to: Recipient,
    data: Annotated[list[DataType], typer.Argument(help="Kinds of data.")],
    text_version: Annotated[str, typer.Option(help="The version of the text, as `consent texts` says.")],
    by: By,
    until: Annotated[dt.datetime | None, typer.Option(help="The end, UTC; without: until withdrawn.")] = None,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Record that a patient agreed, and keep the text (`consent texts`) that they agreed to."""
    end = None if until is None else until.replace(tzinfo=dt.UTC)
    with _access(config) as (access, now):
        ids = [
            access.give_consent(patient, to, one, text_version=text_version, by=by, now=now, valid_until=end)
            for one in data
        ]
    typer.echo(json.dumps({"consents": [str(one) for one in ids]}))


@consents.command()
def withdraw(
    patient: Patient,
    to: Recipient,
    data: Annotated[list[DataType], typer.Argument(help="Kinds of data.")],
    by: By,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Record that a patient withdrew: nobody of these reads any of it from now on."""
    with _access(config) as (access, now):
        count = sum(access.withdraw_consent(patient, to, one, by=by, now=now) for one in data)
    typer.echo(json.dumps({"withdrawn": count}))


@consents.command("list")
def list_consents(patient: Patient, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print every consent that a patient ever gave, and what text, as JSON."""
    from cloud_bridge.access.texts import NOT_KEPT  # noqa: PLC0415 - as above

    with _access(config) as (access, now):
        shown = [
            {
                "to": one.to,
                "data": one.data.value,
                "text_version": one.text_version,
                "text": "kept" if one.texts else NOT_KEPT,
                "texts": [{"language": text.language, "sha256": text.digest} for text in one.texts],
                "from": one.valid_from.isoformat(),
                "until": None if one.valid_until is None else one.valid_until.isoformat(),
                "withdrawn_at": None if one.withdrawn_at is None else one.withdrawn_at.isoformat(),
                "holds": one.holds(now),
            }
            for one in access.consents(patient)
        ]
    typer.echo(json.dumps(shown, ensure_ascii=False))


@consents.command("export")
def export_consents(patient: Patient, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print every consent that a patient ever gave, as a Bundle of FHIR R4 Consent resources."""
    from cloud_bridge.access.texts import as_kept  # noqa: PLC0415 - as above
    from cloud_bridge.connectors.fhir_consent import consent_resource  # noqa: PLC0415 - as above

    reader = configuration.load(config).staff_language
    with _store(config) as (store, now):
        known_as = store.alerts.known_as(patient)
        if known_as is None:
            raise Rejected(f"There is no patient {patient}: enrol the home first.")
        given = store.access.consents(patient)
        kept = store.access.contents({text.digest for one in given for text in one.texts})
    found = [consent_resource(one, known_as, now, as_kept(one.texts, kept, reader)) for one in given]
    entries = [{"fullUrl": f"urn:uuid:{one['identifier'][0]['value']}", "resource": one} for one in found]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    typer.echo(json.dumps(bundle, ensure_ascii=False))


@consents.command("import")
def import_consents(
    file: Annotated[Path, typer.Argument(help="A FHIR R4 Consent, or a Bundle of nothing else, as JSON.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Keep what a file says that patients agreed to or withdrew: all of it or nothing. May be repeated.

    Where a consent carries no text, "text_not_kept" says of how many.
    """
    from cloud_bridge.connectors.fhir_consent import Known, resources, statements  # noqa: PLC0415 - as above

    try:
        found = resources(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file} cannot be read as JSON: give a FHIR R4 Consent.") from error
    zone = ZoneInfo(configuration.load(config).zone)
    with _store(config) as (store, now):
        known = Known(lambda who: store.access.patient_known_as(who.system, who.value), zone, now)
        said = [one for resource in found for one in statements(resource, known)]
        texts = {text for one in said for text in one.texts}
        done = store.access.take_consents([(one.consent, one.void) for one in said], now, texts)
    shown = {what: done[what] for what in ("given", "withdrawn", "known")}
    textless = {what: done[what] for what in ("text_not_kept",) if done[what]}
    typer.echo(json.dumps(shown | textless))


@consents.command("texts")
def list_texts(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print which versions of the text can be agreed to, as JSON; `changed`: it was another one before."""
    with _access(config) as (access, _):
        shown = [
            {
                "version": version,
                "language": one.language,
                "sha256": one.wording.digest,
                "changed": changed,
            }
            for version, one, changed in access.versions()
        ]
    typer.echo(json.dumps(shown, ensure_ascii=False))


@consents.command("text")
def show_text(
    digest: Annotated[
        str, typer.Argument(help="Its sha256, as `consent list` or `consent texts` prints it.")
    ],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print a text byte by byte: what patients agreed to, or can agree to."""
    with _access(config) as (access, _):
        content = access.content(digest)
    typer.echo(content, nl=False)


@audits.command()
def show(
    patient: Annotated[str | None, typer.Option(help="Of one patient only.")] = None,
    action: Annotated[
        Action | None, typer.Option(help="One action only, as break_glass (emergencies) or review.")
    ] = None,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Print the record, a line of JSON an entry."""
    with _access(config) as (access, _):
        for one, digest in access.entries(patient, action):
            said = {
                "number": one.number,
                "at": one.at.isoformat(),
                "account": one.account,
                "role": one.role,
                "action": one.action.value,
                "patient": one.patient,
                "data": one.data,
                "allowed": one.allowed,
                "policies": one.policies,
                "reason": one.reason,
                "digest": digest.hex(),
            }
            typer.echo(json.dumps(said, ensure_ascii=False))


@audits.command()
def verify(
    head: Annotated[str | None, typer.Option(help="A digest that was seen before, in hex.")] = None,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Check that no entry was altered, cut out or swapped. Ends with status 1 if one was."""
    try:
        seen = None if head is None else bytes.fromhex(head)
    except ValueError as error:
        raise Misconfigured(f"{head!r} is no digest: give 64 hex digits, as `audit show` prints.") from error
    with _access(config) as (access, _):
        broken = access.broken_at(seen)
    typer.echo(json.dumps({"whole": broken is None, "broken_at": broken}))
    raise typer.Exit(0 if broken is None else 1)
