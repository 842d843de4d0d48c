"""Enrolment: a TOML file says which gateway is a home's, and whose its pseudonyms are."""

import datetime as dt
from pathlib import Path

from pydantic import Field

from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.store.base import EnrolledGateway, Registry
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


class PersonEntry(Section):
    """A patient: the pseudonym used at home, and who they and their care team are to the hospital."""

    pseudonym: str = Field(min_length=1, max_length=64)
    patient: str = Field(min_length=1, max_length=64)
    language: str = "en"
    identifier: IdentifierEntry
    nurse: IdentifierEntry
    physician: IdentifierEntry
    organization: IdentifierEntry

    def care(self) -> CareContext:
        """Return it as the registry takes it."""
        return CareContext(
            patient=self.identifier.identifier(),
            nurse=self.nurse.identifier(),
            physician=self.physician.identifier(),
            organization=self.organization.identifier(),
            language=self.language,
        )


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
        registry.enrol_person(entry.gateway.name, person.pseudonym, person.patient, person.care())
    return entry
