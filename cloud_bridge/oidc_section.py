"""What the configuration says of the hospital's OpenID Connect provider: `[page.oidc]`."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cloud_bridge.access.oidc import Local, Relying, protected
from cloud_bridge.access.provider import Proof, Provider, Secret
from cloud_bridge.connectors.section import TlsSection
from cloud_bridge.connectors.smart_backend import Client
from service_kit.log import Log
from service_kit.toml_config import Section, secret
from wire_format.errors import Misconfigured

RETURN: Final = "/sign-in/hospital/return"
_NAMES_NOBODY: Final = frozenset({"email", "email_verified", "name", "given_name", "family_name", "nickname"})
"""Claims that people may choose or share, or that are given to somebody else after them."""

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=20)]


class OidcSection(Section):
    """The provider, how we prove to it who asks, and what we demand of it.

    `acr` or `amr` must say what a second factor is called there. `account_claim` is the claim that holds an
    account's name and that the hospital alone gives; without it accounts are bound by `account bind`.
    """

    issuer: Annotated[str, AfterValidator(protected)]
    client_id: str = Field(min_length=1)
    client_secret_file: Path | None = None
    key_file: Path | None = None
    key_id: str | None = None
    algorithm: Literal["ES256", "ES384", "RS256", "RS384"] = "ES384"
    scope: str = "openid"
    acr: Names = ()
    amr: Names = ()
    account_claim: str | None = Field(default=None, min_length=1)
    max_age_s: int | None = Field(default=None, ge=0)
    leeway_s: int = Field(default=60, ge=0, le=300)
    timeout_s: float = Field(default=5, gt=0, le=30)
    local: Local = Local.ADMINISTRATORS
    tls: TlsSection | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.client_secret_file is None) == (self.key_file is None):
            raise ValueError("write client_secret_file or key_file, one of them")
        if (self.key_file is None) != (self.key_id is None):
            raise ValueError("key_file and key_id go together: write both")
        if not self.acr and not self.amr:
            raise ValueError(
                "say by which acr or amr the provider tells of a second factor: people see patients with it"
            )
        if "openid" not in self.scope.split():
            raise ValueError("scope must contain openid")
        if self.account_claim is not None and self.account_claim.lower() in _NAMES_NOBODY:
            raise ValueError(
                f"account_claim: {self.account_claim} can be another person's tomorrow: name a claim that "
                "the hospital alone gives, as a staff number, or leave it out: `cloud-bridge account bind`"
            )
        return self

    def provider(self, port: int, clock: Callable[[], dt.datetime], log: Log) -> Provider:
        """Return who is asked, of a page at a port; raise `Misconfigured` if a file cannot be used."""
        tls = None if self.tls is None else self.tls.context("page.oidc")
        return Provider(self._relying(port), self._proof(), clock, log, tls=tls, timeout_s=self.timeout_s)

    def _relying(self, port: int) -> Relying:
        return Relying(
            issuer=self.issuer,
            client_id=self.client_id,
            redirect_uri=f"http://127.0.0.1:{port}{RETURN}",
            acr=self.acr,
            amr=self.amr,
            account_claim=self.account_claim,
            scope=self.scope,
            max_age_s=self.max_age_s,
            leeway_s=self.leeway_s,
        )

    def _proof(self) -> Proof:
        if self.key_file is not None:
            where = "page.oidc.key_file"
            key = secret(self.key_file, where) or ""
            return Client("", self.client_id, key, self.key_id or "", self.algorithm, "", where)
        value = secret(self.client_secret_file, "page.oidc.client_secret_file")
        if not value:
            raise Misconfigured("page.oidc.client_secret_file is empty: put the secret there.")
        return Secret(value)
