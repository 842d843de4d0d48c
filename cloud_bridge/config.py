"""Configuration of the bridge: one TOML file. An unknown key is an error that says what to write."""

import ssl
from pathlib import Path
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, HttpUrl, field_validator, model_validator

from cloud_bridge.connectors.smart_backend import Client
from cloud_bridge.connectors.webhook_map import Sends
from cloud_bridge.connectors.webhook_signature import LEAST_SECRET_BYTES
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.service_hours import ServiceSection
from service_kit.toml_config import BrokerSection, Section, load_toml, secret
from wire_format.errors import Misconfigured
from wire_format.topics import Channel, Topic

DEFAULT_PATH: Final = Path("/etc/kiteline/cloud-bridge.toml")
FHIR: Final = "fhir"
HL7V2: Final = "hl7v2"
_HERE: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class KeyPaths(Section):
    """Where the bridge's own keys are (0600)."""

    bridge: Path


class TlsSection(Section):
    """TLS to a receiver: its own authority if it has one, and our certificate where it asks for one."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: write both")
        return self

    def context(self, where: str) -> ssl.SSLContext:
        """Return what verifies the receiver, by name; raise `Misconfigured` if a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                f"{where}.tls: a file cannot be used ({error.strerror}): check it."
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class OauthSection(Section):
    """SMART Backend Services: our name at the authorization server, and the key that proves it."""

    token_url: HttpUrl
    client_id: str = Field(min_length=1)
    key_file: Path
    key_id: str = Field(min_length=1)
    algorithm: Literal["ES384", "RS384"] = "ES384"
    scope: str = (
        "system/Observation.cruds system/Device.cruds system/Provenance.cruds system/DetectedIssue.cruds "
        "system/Task.cruds system/CommunicationRequest.cruds"
    )

    @model_validator(mode="after")
    def _in_clear_only_here(self) -> Self:
        if self.token_url.scheme != "https" and self.token_url.host not in _HERE:
            raise ValueError("a token would come in clear: write an https:// token_url")
        return self

    def client(self) -> Client:
        """Return who we are; raise `Misconfigured` if the key cannot be read or used."""
        key = secret(self.key_file, "fhir.oauth.key_file") or ""
        return Client(str(self.token_url), self.client_id, key, self.key_id, self.algorithm, self.scope)


class FhirSection(Section):
    """The hospital's FHIR R4 server. `test_data` marks everything that is sent as no real patient's."""

    base_url: HttpUrl
    token_file: Path | None = None
    oauth: OauthSection | None = None
    tls: TlsSection | None = None
    test_data: bool = False
    timeout_s: float = Field(default=10, gt=0, le=120)
    poll_s: float = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _token_only_over_tls(self) -> Self:
        if self.token_file is not None and self.oauth is not None:
            raise ValueError("write token_file or [fhir.oauth], not both")
        given = self.token_file is not None or self.oauth is not None
        if given and self.base_url.scheme != "https" and not self._is_here():
            raise ValueError("a token would go in clear: write an https:// base_url")
        return self

    def _is_here(self) -> bool:
        return self.base_url.host in _HERE

    def token(self) -> str | None:
        """Return the bearer token; raise `Misconfigured` if its file cannot be read."""
        return secret(self.token_file, "fhir.token_file")


class Hl7V2Section(Section):
    """A receiver of HL7 v2 messages over MLLP; `application` and `facility` are MSH-5 and MSH-6.

    MLLP in clear goes to this machine only (a tunnel, an interface engine): elsewhere write [hl7v2.tls].
    """

    host: str
    port: int = Field(ge=1, le=65535)
    application: str = Field(default="", max_length=180)
    facility: str = Field(default="", max_length=180)
    test_data: bool = False
    timeout_s: float = Field(default=10, gt=0, le=120)
    tls: TlsSection | None = None

    @model_validator(mode="after")
    def _in_clear_only_here(self) -> Self:
        if self.tls is None and self.host not in _HERE:
            raise ValueError("messages would go in clear: write [hl7v2.tls]")
        return self


class WebhookSection(Section):
    """A receiver of signed events. The secret's file has 64 hex digits or more, one secret a line."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    url: HttpUrl
    secret_file: Path
    sends: tuple[Sends, ...] = Field(min_length=1)
    timeout_s: float = Field(default=10, gt=0, le=120)
    tls: TlsSection | None = None

    @model_validator(mode="after")
    def _in_clear_only_here(self) -> Self:
        if self.url.scheme != "https" and self.url.host not in _HERE:
            raise ValueError("events would go in clear: write an https:// url")
        return self

    @property
    def destination(self) -> str:
        """What its deliveries are called."""
        return f"webhook:{self.name}"

    def secrets(self) -> tuple[bytes, ...]:
        """Return the secrets, the newest first; raise `Misconfigured` if the file does not have them."""
        lines = (secret(self.secret_file, f"webhook.{self.name}.secret_file") or "").split()
        try:
            found = tuple(bytes.fromhex(line) for line in lines)
        except ValueError:
            found = ()
        if not found or min(map(len, found)) < LEAST_SECRET_BYTES:
            raise Misconfigured(
                f"webhook.{self.name}.secret_file: write 64 hex digits or more, one secret a line "
                "(openssl rand -hex 32)."
            )
        return found


class PageSection(Section):
    """The inbox page, on loopback only. Who comes in: by a link all see all; by accounts policies decide."""

    port: int = Field(ge=0, le=65535)
    sign_in: Literal["link", "accounts"] = "link"


class InfluxSection(Section):
    """An InfluxDB 2 beside the record; it can be lost and rebuilt."""

    url: HttpUrl
    organization: str
    bucket: str
    token_file: Path | None = None

    def token(self) -> str:
        """Return the token, empty if there is none; raise `Misconfigured` if its file cannot be read."""
        return secret(self.token_file, "influx.token_file") or ""


def known_zone(value: str) -> str:
    """Return the name of a time zone; `ValueError` if there is none of that name."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("write an IANA time zone, as Asia/Shanghai") from error
    return value


class Config(Section):
    """The whole file. Without `fhir`, work orders stay on the page; `database` is in SQLAlchemy's form.

    `claim_s`: how long a worker may take over a delivery, until another one takes it over.
    """

    site: str
    state: Path
    database: str | None = None
    staff_language: str = "en"
    zone: str = "UTC"
    claim_s: float = Field(default=120, ge=1)
    keys: KeyPaths
    broker: BrokerSection
    page: PageSection | None = None
    fhir: FhirSection | None = None
    hl7v2: Hl7V2Section | None = None
    webhook: tuple[WebhookSection, ...] = ()
    influx: InfluxSection | None = None
    service: ServiceSection | None = None

    @field_validator("webhook")
    @classmethod
    def _distinct(cls, value: tuple[WebhookSection, ...]) -> tuple[WebhookSection, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("two webhooks have one name: give each its own")
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        return ALWAYS if self.service is None else self.service.duty(ZoneInfo(self.zone))

    @property
    def database_url(self) -> str:
        """The database: what was configured, or a file in the state folder."""
        return self.database or f"sqlite:///{self.state.absolute() / 'bridge.sqlite'}"

    @property
    def destinations(self) -> tuple[str, ...]:
        """The follow-up systems that alerts and readings go to."""
        return (
            *((FHIR,) if self.fhir is not None else ()),
            *((HL7V2,) if self.hl7v2 is not None else ()),
            *(one.destination for one in self.webhook),
        )


def load(path: Path) -> Config:
    """Return the configuration of a file; raise `Misconfigured` saying what to write where."""
    config = load_toml(path, Config)
    try:
        Topic(config.site, "any", Channel.UP)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: site: {error}") from error
    return config
