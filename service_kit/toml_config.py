"""Configuration files: one TOML file a process; an error names the file, the key, and what to write."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service_kit.mqtt_line import Broker
from wire_format.errors import Misconfigured


class Section(BaseModel):
    """A table of a configuration file. A key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_C = TypeVar("_C", bound=BaseModel)


class BrokerSection(Section):
    """The hospital's MQTT broker. `ca` switches TLS on; the password stands in a file of its own."""

    host: str
    port: int = Field(ge=1, le=65535)
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    session_expiry_days: int = Field(default=30, ge=1, le=365)
    longest_pause_s: float = Field(default=60, gt=0)

    def broker(self) -> Broker:
        """Return what the MQTT client needs; raise `Misconfigured` if the password cannot be read."""
        return Broker(
            host=self.host,
            port=self.port,
            username=self.username,
            password=secret(self.password_file, "broker.password_file"),
            ca=self.ca,
            certificate=self.certificate,
            key=self.key,
            keepalive_s=self.keepalive_s,
            session_expiry_s=self.session_expiry_days * 86_400,
            longest_pause_s=self.longest_pause_s,
        )


def load_toml(path: Path, model: type[_C]) -> _C:
    """Return a file as `model`; raise `Misconfigured` saying what to write where."""
    try:
        with path.open("rb") as file:
            keys: dict[str, Any] = tomllib.load(file)
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read ({error.strerror}): write the configuration there."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is no TOML: {error}.") from error
    try:
        return model.model_validate(keys)
    except ValidationError as error:
        raise Misconfigured(f"{path}: {_advice(error)}") from error


def secret(path: Path | None, key: str) -> str | None:
    """Return what a file of its own holds, None without one; `key` is where the configuration names it."""
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{key}: {path} cannot be read: put the secret there.") from error


def _advice(error: ValidationError) -> str:
    return " ".join(_one(found["type"], _where(found["loc"]), found["msg"]) for found in error.errors())


def _one(kind: str, key: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return f"The key {key!r} is not known: remove it, or correct its spelling."
        case "missing":
            return f"The key {key!r} is missing: write it."
        case _:
            return f"The key {key!r} is wrong: {message.removeprefix('Value error, ')}."


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
