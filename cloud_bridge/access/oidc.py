"""Signing in by OpenID Connect: what is asked of the hospital's provider, and when its answer is believed.

Pure: documents, answers, keys and `now` come in, who it is comes out. OpenID Connect Core 1.0 (code flow),
PKCE (RFC 7636, S256), the issuer in the answer (RFC 9207). Who somebody is comes from the provider; what they
may do stays with accounts and policies.
"""

import base64
import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from joserfc.jws import JWSRegistry
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from wire_format.errors import KitelineError

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Signatures by a private key only: a secret that two know, or none at all, proves nobody."""
MOST_WORD: Final = 2048
MOST_SUBJECT: Final = 255
"""OpenID Connect Core, section 2: a subject has at most 255 ASCII characters."""
HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_KINDS: Final = frozenset({"RSA", "EC", "OKP"})


class Why(StrEnum):
    """Why somebody is not in. The page has a sentence for each."""

    DECLINED = "declined"  # the provider said no, or the person did
    STALE = "stale"  # not begun in this browser, too long ago, or answered before
    UNTRUSTED = "untrusted"  # an answer that does not hold
    WEAK = "weak"  # no second factor, or too long ago
    UNREACHABLE = "unreachable"  # the provider does not answer
    UNREGISTERED = "unregistered"  # the provider does not know us, or our proof is wrong
    UNKNOWN = "unknown"  # no account here is bound to this subject
    INACTIVE = "inactive"  # the account is switched off


class NotSignedIn(KitelineError):  # noqa: N818 - the name says what is true
    """Somebody is not in. `why` says what the page says; the message is for who looks after the bridge."""

    def __init__(self, why: Why, message: str, subject: str = "", account: str = "") -> None:
        super().__init__(message)
        self.why, self.subject, self.account = why, subject, account


class Local(StrEnum):
    """Whose local account (password and code) still opens the page beside a provider."""

    NOBODY = "nobody"
    ADMINISTRATORS = "administrators"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Relying:
    """What we are to the provider, and what we demand. One of `acr` and `amr` at least says a second factor.

    `acr`: one of these must be the token's; `amr`: one of these must be among the token's. `account_claim`
    names the claim by which a first sign-in finds its account; None: accounts are bound by command only.
    """

    issuer: str
    client_id: str
    redirect_uri: str
    acr: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    account_claim: str | None = None
    scope: str = "openid"
    max_age_s: int | None = None
    leeway_s: int = 60


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way. `verifier` is the secret half of PKCE; none of these is used twice."""

    begun: dt.datetime
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says somebody is; `name` is what `account_claim` said, None without.

    `sid` is the provider's own session, by which it may end ours.
    """

    issuer: str
    subject: str
    name: str | None = None
    sid: str | None = None


def protected(url: str) -> str:
    """Return a URL that is https, or leads to this machine; `ValueError` for any other."""
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE)
    if not safe or not parts.hostname or "@" in parts.netloc:
        raise ValueError("write an https:// address: a sign-in in clear can be read and altered")
    return url


class Metadata(BaseModel):
    """The provider's own description (OpenID Connect Discovery 1.0, section 3), as far as we use it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: Annotated[str, AfterValidator(protected)]
    token_endpoint: Annotated[str, AfterValidator(protected)]
    jwks_uri: Annotated[str, AfterValidator(protected)]
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


def discovery_url(issuer: str) -> str:
    """Return where the provider describes itself."""
    return str(get_well_known_url(issuer, external=True))


def metadata(document: object, issuer: str) -> Metadata:
    """Return the provider's description; raise `NotSignedIn` if it is another one's, or none."""
    try:
        found = Metadata.model_validate(document)
    except ValidationError as error:
        keys = ", ".join(".".join(str(part) for part in one["loc"]) for one in error.errors())
        raise _untrusted(f"The provider's description of itself is not usable ({keys}).") from error
    if found.issuer != issuer:
        raise _untrusted(
            "The provider describes itself under another name: page.oidc.issuer must be its own."
        )
    return found


def challenge(verifier: str) -> str:
    """Return the half of PKCE that everybody may see (RFC 7636, section 4.2, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(relying: Relying, provider: Metadata, attempt: Attempt) -> str:
    """Return where a browser is sent to sign in."""
    return str(
        prepare_grant_uri(
            provider.authorization_endpoint,
            relying.client_id,
            "code",
            relying.redirect_uri,
            relying.scope,
            attempt.state,
            nonce=attempt.nonce,
            code_challenge=challenge(attempt.verifier),
            code_challenge_method="S256",
            acr_values=" ".join(relying.acr) or None,
            max_age=None if relying.max_age_s is None else str(relying.max_age_s),
        )
    )


def code_of(answer: Mapping[str, str], relying: Relying, provider: Metadata) -> str:
    """Return the code of an answer that came back by the browser; raise `NotSignedIn`.

    The issuer is looked at first: an answer of another provider, also a refusal, says nothing (RFC 9207).
    """
    named = answer.get("iss")
    if named is None and provider.authorization_response_iss_parameter_supported:
        raise _untrusted("The answer does not say which provider it is of (iss), which this one promises.")
    if named is not None and named != relying.issuer:
        raise _untrusted("The answer is of another provider (iss).")
    if "error" in answer:
        raise NotSignedIn(Why.DECLINED, "The provider declined.")
    code = answer.get("code", "")
    if not 0 < len(code) <= MOST_WORD:
        raise NotSignedIn(Why.STALE, "The answer has no code.")
    return code


def keys_of(document: object) -> KeySet:
    """Return the public keys that a provider signs with; what is none is left aside."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise _untrusted("The provider's key set is none (jwks_uri).")
    return KeySet([key for one in listed for key in _key(one)])


def _key(one: object) -> Iterable[Key]:
    if not isinstance(one, dict) or str(one.get("kty")) not in _KINDS or one.get("use", "sig") != "sig":
        return
    try:
        yield import_key(one)
    except (JoseError, ValueError, TypeError):
        return


class UnknownKey(KitelineError):  # noqa: N818 - the name says what is true
    """A token that none of these keys signed: the provider may have new ones."""


def identity(
    answer: Mapping[str, Any], keys: KeySet, relying: Relying, attempt: Attempt, now: dt.datetime
) -> Identity:
    """Return who a token answer speaks of, when everything that it must hold does hold.

    Raises `UnknownKey` if the provider's keys should be fetched anew, `NotSignedIn` for all else.
    """
    claims = _claims(answer, keys, relying, attempt, now)
    _strong(claims, relying, attempt)
    name = None if relying.account_claim is None else claims.get(relying.account_claim)
    sid = claims.get("sid")
    return Identity(
        relying.issuer,
        claims["sub"],
        name if isinstance(name, str) and name else None,
        sid if isinstance(sid, str) and sid else None,
    )


def _claims(
    answer: Mapping[str, Any], keys: KeySet, relying: Relying, attempt: Attempt, now: dt.datetime
) -> dict[str, Any]:
    token = answer.get("id_token")
    if not isinstance(token, str) or not token.isascii():
        raise _untrusted("The provider gave no ID token: is the scope openid?")
    try:
        read = jwt.decode(token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        claims = CodeIDToken(
            read.claims,
            read.header,
            {"iss": {"value": relying.issuer}, "aud": {"value": relying.client_id}},
            {"client_id": relying.client_id, "nonce": attempt.nonce, **_access(answer)},
        )
        claims.validate(now=int(now.timestamp()), leeway=relying.leeway_s)
    except (InvalidKeyIdError, BadSignatureError) as error:
        raise UnknownKey("No key of the provider signed this token.") from error
    except (JoseError, ValueError, TypeError, AttributeError) as error:
        # The libraries compare before they look at types: a list where a text belongs ends there too.
        raise _untrusted(f"The ID token does not hold ({type(error).__name__}: {_claim(error)}).") from error
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT or not subject.isprintable():
        raise _untrusted("The ID token names nobody (sub).")
    return dict(claims)


def _access(answer: Mapping[str, Any]) -> dict[str, str]:
    token = answer.get("access_token")
    return {"access_token": token} if isinstance(token, str) else {}


def _claim(error: Exception) -> str:
    return str(getattr(error, "claim", "") or "its form")


def _strong(claims: Mapping[str, Any], relying: Relying, attempt: Attempt) -> None:
    """Raise `NotSignedIn` unless there was a second factor, and lately enough."""
    methods = claims.get("amr")
    used = {one for one in methods if isinstance(one, str)} if isinstance(methods, list) else set()
    if relying.acr and claims.get("acr") not in relying.acr:
        raise NotSignedIn(Why.WEAK, "The ID token's acr is none of page.oidc.acr.")
    if relying.amr and not used & set(relying.amr):
        raise NotSignedIn(Why.WEAK, "The ID token's amr has none of page.oidc.amr.")
    if relying.max_age_s is None:
        return
    at = claims.get("auth_time")
    oldest = attempt.begun.timestamp() - relying.max_age_s - relying.leeway_s
    if not isinstance(at, (int, float)) or isinstance(at, bool) or at < oldest:
        raise NotSignedIn(Why.WEAK, "The provider did not ask anew (auth_time, page.oidc.max_age_s).")


def _untrusted(message: str) -> NotSignedIn:
    return NotSignedIn(Why.UNTRUSTED, message)
