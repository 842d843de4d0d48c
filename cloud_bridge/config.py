"""Configuration of the bridge: one TOML file. An unknown key is an error that says what to write."""

from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, HttpUrl, field_validator, model_validator

from service_kit.toml_config import BrokerSection, Section, load_toml, secret
from wire_format.errors import Misconfigured
from wire_format.topics import Channel, Topic

DEFAULT_PATH: Final = Path("/etc/kiteline/cloud-bridge.toml")
FHIR: Final = "fhir"


class KeyPaths(Section):
    """Where the bridge's own keys are (0600)."""

    bridge: Path


class FhirSection(Section):
    """The hospital's FHIR R4 server. `test_data` marks everything that is sent as no real patient's."""

    base_url: HttpUrl
    token_file: Path | None = None
    test_data: bool = False
    timeout_s: float = Field(default=10, gt=0, le=120)
    poll_s: float = Field(default=2, gt=0)

    @model_validator(mode="after")
    def _token_only_over_tls(self) -> Self:
        if self.token_file is not None and self.base_url.scheme != "https" and not self._is_here():
            raise ValueError("a token would go in clear: write an https:// base_url")
        return self

    def _is_here(self) -> bool:
        return self.base_url.host in {"127.0.0.1", "localhost", "[::1]"}

    def token(self) -> str | None:
        """Return the bearer token; raise `Misconfigured` if its file cannot be read."""
        return secret(self.token_file, "fhir.token_file")


class PageSection(Section):
    """The inbox page. It binds loopback only, until people can sign in."""

    port: int = Field(ge=0, le=65535)


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
    influx: InfluxSection | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    @property
    def database_url(self) -> str:
        """The database: what was configured, or a file in the state folder."""
        return self.database or f"sqlite:///{self.state.absolute() / 'bridge.sqlite'}"

    @property
    def destinations(self) -> tuple[str, ...]:
        """The follow-up systems that alerts and readings go to."""
        return (FHIR,) if self.fhir is not None else ()


def load(path: Path) -> Config:
    """Return the configuration of a file; raise `Misconfigured` saying what to write where."""
    config = load_toml(path, Config)
    try:
        Topic(config.site, "any", Channel.UP)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: site: {error}") from error
    return config
