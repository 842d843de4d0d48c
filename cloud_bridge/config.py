"""Configuration of the bridge: one TOML file. An unknown key is an error that says what to write."""

from pathlib import Path
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, HttpUrl, field_validator, model_validator

from cloud_bridge.destinations import Destinations
from cloud_bridge.discharge.section import DischargeSection
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.mllp_listener import MllpSection
from cloud_bridge.oidc_section import OidcSection
from cloud_bridge.service_hours import ServiceSection
from service_kit.toml_config import BrokerSection, Section, load_toml, secret
from wire_format.errors import Misconfigured
from wire_format.topics import Channel, Topic

DEFAULT_PATH: Final = Path("/etc/kiteline/cloud-bridge.toml")


class KeyPaths(Section):
    """Where the bridge's own keys are (0600)."""

    bridge: Path


class PageSection(Section):
    """The inbox page, on loopback only. People have accounts, and policies decide what each sees.

    With `oidc` the hospital's own provider says who somebody is. By a "link" all see all: for a first look.
    """

    port: int = Field(ge=0, le=65535)
    sign_in: Literal["accounts", "link"] = "accounts"
    oidc: OidcSection | None = None

    @model_validator(mode="after")
    def _accounts(self) -> Self:
        if self.oidc is not None and self.sign_in != "accounts":
            raise ValueError('with page.oidc people have accounts: leave sign_in = "link" out')
        if self.oidc is not None and self.port == 0:
            raise ValueError(
                "with page.oidc the port is part of an address that the provider knows: choose one"
            )
        return self


class ConsentSection(Section):
    """The texts that patients agree to: a folder with VERSION.en.txt and VERSION.zh-Hans.txt, plain UTF-8.

    `offered`: the version that the page asks to agree to now; needed where there is more than one.
    """

    texts: Path | None = None
    offered: str | None = None


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


class Config(Destinations):
    """The whole file. Without `fhir`, work orders stay on the page.

    `database`: sqlite:///PATH or postgresql://ROLE@HOST/NAME; without it, a file of SQLite in `state`.

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
    consent: ConsentSection | None = None
    influx: InfluxSection | None = None
    service: ServiceSection | None = None
    discharge: DischargeSection | None = None
    mllp: MllpSection | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    @model_validator(mode="after")
    def _messages_are_understood(self) -> Self:
        if self.mllp is not None and self.discharge is None:
            raise ValueError("[mllp] takes discharges: write [discharge] too")
        return self

    @property
    def page_is_open(self) -> bool:
        """Whether by a link all see patients who may be real: what is sent is not marked as test data."""
        sent = [one.test_data for one in (self.fhir, self.hl7v2) if one is not None]
        made_up = bool(sent) and all(sent)
        return self.page is not None and self.page.sign_in == "link" and not made_up

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        return ALWAYS if self.service is None else self.service.duty(ZoneInfo(self.zone))

    @property
    def database_url(self) -> str:
        """The database: what was configured, or a file in the state folder."""
        return self.database or f"sqlite:///{self.state.absolute() / 'bridge.sqlite'}"


def load(path: Path) -> Config:
    """Return the configuration of a file; raise `Misconfigured` saying what to write where."""
    config = load_toml(path, Config)
    try:
        Topic(config.site, "any", Channel.UP)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: site: {error}") from error
    return config
