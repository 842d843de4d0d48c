"""Enrolment: a TOML file says which gateway is a home's, and whose its pseudonyms are."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from cloud_bridge.config import known_zone
from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.rules.programme import check_own, programme
from cloud_bridge.store.base import EnrolledGateway, Registry, Stated
from service_kit.key_files import read_public
from service_kit.toml_config import Section, load_toml
from wire_format.errors import Misconfigured
from wire_format.keys import GatewayPublic
from wire_format.topics import Channel, Topic


class GatewayEntry(Section):
    """A gateway: its public key file as `edge-agent keys` wrote it, and its EUI-64 in hex."""

    name: str
    keys: Path
    system_id: str = Field(pattern=r"^[0-9a-f]{16}$")


class IdentifierEntry(Section):
    """A business identifier as the hospital's FHIR server has it."""

    system: str = Field(min_length=1)
    value: str = Field(min_length=1)

    def identifier(self) -> Identifier:
        """Return it as the connectors take it."""
        return Identifier(self.system, self.value)


class OwnParameter(Section):
    """A patient's own value of a rule's parameter, written as in a programme's file; who said so, and why."""

    rule: str
    parameter: str
    value: Any
    author: str = Field(min_length=1, max_length=64)
    reason: str = Field(min_length=1, max_length=500)

    @property
    def text(self) -> str:
        """Return the value as it is kept."""
        return json.dumps(self.value, sort_keys=True, ensure_ascii=False, default=str)


class PersonEntry(Section):
    """A patient: the pseudonym used at home, and who they and their care team are to the hospital.

    `programmes` are what is agreed to be measured, the most important first; without any nothing is expected.
    `zone` is where the patient lives, an IANA time zone; without it the hospital's. Not everybody has a
    family doctor or a pharmacist.
    """

    pseudonym: str = Field(min_length=1, max_length=64)
    patient: str = Field(min_length=1, max_length=64)
    language: str = Field(default="en", min_length=2, max_length=16)
    identifier: IdentifierEntry
    nurse: IdentifierEntry
    physician: IdentifierEntry
    organization: IdentifierEntry
    family_doctor: IdentifierEntry | None = None
    family_organization: IdentifierEntry | None = None
    pharmacist: IdentifierEntry | None = None
    programmes: tuple[str, ...] = ()
    zone: str | None = None
    own: tuple[OwnParameter, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        return None if value is None else known_zone(value)

    def care(self) -> CareContext:
        """Return it as the registry takes it."""
        return CareContext(
            patient=self.identifier.identifier(),
            nurse=self.nurse.identifier(),
            physician=self.physician.identifier(),
            organization=self.organization.identifier(),
            language=self.language,
            family_doctor=_who(self.family_doctor),
            family_organization=_who(self.family_organization),
            pharmacist=_who(self.pharmacist),
        )


def _who(entry: IdentifierEntry | None) -> Identifier | None:
    return None if entry is None else entry.identifier()


class Enrolment(Section):
    """The whole file."""

    gateway: GatewayEntry
    person: tuple[PersonEntry, ...] = ()


def enrol(path: Path, site: str, registry: Registry, now: dt.datetime) -> Enrolment:
    """Enrol a home; may be repeated. Raises `Misconfigured` or `Rejected` saying what to correct."""
    entry = load_toml(path, Enrolment)
    try:
        Topic(site, entry.gateway.name, Channel.UP)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: gateway.name: {error}") from error
    keys = read_public(path.parent / entry.gateway.keys, GatewayPublic)
    registry.enrol_gateway(EnrolledGateway(entry.gateway.name, site, keys, entry.gateway.system_id), now)
    for person in entry.person:
        _check(path, person)
    for person in entry.person:
        registry.enrol_person(
            entry.gateway.name, person.pseudonym, person.patient, person.care(), person.zone
        )
        if person.programmes:
            registry.join(person.patient, person.programmes, Stated("enrolment", "enrolled", now))
        for own in person.own:
            stated = Stated(own.author, own.reason, now)
            registry.agree(person.patient, own.rule, own.parameter, own.text, stated)
    return entry


def _check(path: Path, person: PersonEntry) -> None:
    """Raise `Misconfigured` before anything is changed."""
    try:
        for name in person.programmes:
            programme(name)
        for own in person.own:
            check_own(own.rule, own.parameter, own.text)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: person {person.pseudonym}: {error}") from error
