"""What the configuration says of every follow-up system, whatever it speaks."""

import ssl
from abc import abstractmethod
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import HttpUrl, field_validator, model_validator

from cloud_bridge.access.consent import parse_recipient
from cloud_bridge.connectors.base import Connector
from service_kit.toml_config import Section
from wire_format.errors import Misconfigured, Rejected

HERE: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


def in_clear_elsewhere(url: HttpUrl) -> bool:
    """Tell whether what is sent to a URL leaves this machine in clear."""
    return url.scheme != "https" and url.host not in HERE


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


class DestinationSection(Section):
    """One follow-up system as a table of the file. Its own keys stand in the class of its kind.

    Who treats the patient needs no consent for it. Any other receiver is `consent = "required"`, and
    `recipient` says to whom the patient must have consented: a role, or organization:NAME.
    """

    consent: Literal["required"] | None = None
    recipient: str | None = None

    @field_validator("recipient")
    @classmethod
    def _somebody(cls, value: str | None) -> str | None:
        try:
            return None if value is None else parse_recipient(value)
        except Rejected as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _consent_to_whom(self) -> Self:
        if (self.consent is None) != (self.recipient is None):
            raise ValueError('consent = "required" and recipient go together: write both, or neither')
        return self

    @property
    @abstractmethod
    def destination(self) -> str:
        """What its deliveries are called: in the database, in `status` and in the log. It never changes."""

    @abstractmethod
    def connector(self) -> Connector:
        """Return its connector, not connected yet; raise `Misconfigured` if a file cannot be used."""
