"""The follow-up systems that there are, each a table of the configuration; `Destinations` registers them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, HttpUrl, field_validator, model_validator

from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.connectors.hl7_map import Routing
from cloud_bridge.connectors.hl7v2 import Hl7V2Connector, Peer
from cloud_bridge.connectors.section import HERE, DestinationSection, TlsSection, in_clear_elsewhere
from cloud_bridge.connectors.smart_backend import Client, SmartBackendAuth
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import Sends
from cloud_bridge.connectors.webhook_signature import LEAST_SECRET_BYTES
from service_kit.toml_config import Section, secret
from wire_format.errors import Misconfigured

FHIR: Final = "fhir"
HL7V2: Final = "hl7v2"


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
        if in_clear_elsewhere(self.token_url):
            raise ValueError("a token would come in clear: write an https:// token_url")
        return self

    def client(self) -> Client:
        """Return who we are; raise `Misconfigured` if the key cannot be read or used."""
        key = secret(self.key_file, "fhir.oauth.key_file") or ""
        return Client(str(self.token_url), self.client_id, key, self.key_id, self.algorithm, self.scope)


class FhirSection(DestinationSection):
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
        if given and in_clear_elsewhere(self.base_url):
            raise ValueError("a token would go in clear: write an https:// base_url")
        return self

    def token(self) -> str | None:
        """Return the bearer token; raise `Misconfigured` if its file cannot be read."""
        return secret(self.token_file, "fhir.token_file")

    @property
    def destination(self) -> str:
        """See `DestinationSection`."""
        return FHIR

    def connector(self) -> FhirR4Connector:
        """See `DestinationSection`."""
        return FhirR4Connector(
            str(self.base_url),
            name=FHIR,
            test_data=self.test_data,
            timeout_s=self.timeout_s,
            token=self.token(),
            auth=None if self.oauth is None else SmartBackendAuth(self.oauth.client()),
            tls=None if self.tls is None else self.tls.context(FHIR),
        )


class Hl7V2Section(DestinationSection):
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
        if self.tls is None and self.host not in HERE:
            raise ValueError("messages would go in clear: write [hl7v2.tls]")
        return self

    @property
    def destination(self) -> str:
        """See `DestinationSection`."""
        return HL7V2

    def connector(self) -> Hl7V2Connector:
        """See `DestinationSection`."""
        tls = None if self.tls is None else self.tls.context(HL7V2)
        peer = Peer(self.host, self.port, self.timeout_s, tls)
        routing = Routing(self.application, self.facility, "T" if self.test_data else "P")
        return Hl7V2Connector(peer, routing, name=HL7V2)


class WebhookSection(DestinationSection):
    """A receiver of signed events. The secret's file has 64 hex digits or more, one secret a line."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    url: HttpUrl
    secret_file: Path
    sends: tuple[Sends, ...] = Field(min_length=1)
    timeout_s: float = Field(default=10, gt=0, le=120)
    tls: TlsSection | None = None

    @model_validator(mode="after")
    def _in_clear_only_here(self) -> Self:
        if in_clear_elsewhere(self.url):
            raise ValueError("events would go in clear: write an https:// url")
        return self

    @property
    def destination(self) -> str:
        """See `DestinationSection`."""
        return f"webhook:{self.name}"

    def connector(self) -> WebhookConnector:
        """See `DestinationSection`."""
        return WebhookConnector(
            str(self.url),
            self.secrets(),
            self.sends,
            name=self.name,
            timeout_s=self.timeout_s,
            tls=None if self.tls is None else self.tls.context(f"webhook.{self.name}"),
        )

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


class Destinations(Section):
    """Every kind of follow-up system, by the name of its table. A new kind is one row here."""

    fhir: FhirSection | None = None
    hl7v2: Hl7V2Section | None = None
    webhook: tuple[WebhookSection, ...] = ()

    @field_validator("webhook")
    @classmethod
    def _distinct(cls, value: tuple[WebhookSection, ...]) -> tuple[WebhookSection, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("two webhooks have one name: give each its own")
        return value

    @property
    def follow_up(self) -> tuple[DestinationSection, ...]:
        """The follow-up systems that are configured, in the order of the rows above."""
        rows = (getattr(self, name) for name in Destinations.model_fields)
        found = (one for row in rows for one in (row if isinstance(row, tuple) else (row,)))
        return tuple(one for one in found if isinstance(one, DestinationSection))

    @property
    def destinations(self) -> tuple[str, ...]:
        """The names of the follow-up systems that alerts and readings go to."""
        return tuple(one.destination for one in self.follow_up)

    @property
    def consent_needed(self) -> Mapping[str, str]:
        """Whose consent a destination needs, of those that need one: a role, or organization:NAME."""
        return {one.destination: one.recipient for one in self.follow_up if one.recipient is not None}
