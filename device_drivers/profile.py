"""DeviceProfile: the typed form of one file of `firmware_profiles/`. Unknown keys are errors.

A profile is a declaration of about 25 lines; code exists only where a protocol differs. This is the only
file that reads `firmware_profiles`.
"""

import hashlib
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from device_drivers.link import uuid16
from wire_format.base import LocalDigits
from wire_format.errors import Misconfigured
from wire_format.nomenclature import Term

PACKAGE: Final = "firmware_profiles"
_SHORT_DIGITS: Final = 4


def long_uuid(name: str) -> str:
    """Return the 128-bit form of "2A35" or of a UUID that is long already, lower case."""
    return uuid16(int(name, 16)) if len(name) == _SHORT_DIGITS else name.lower()


def _uuid(name: str) -> str:
    digits = name.replace("-", "")
    if len(digits) not in {_SHORT_DIGITS, 32} or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise ValueError(f"{name!r} is no Bluetooth UUID: write four hex digits, or all 32 with hyphens")
    return name.upper() if len(digits) == _SHORT_DIGITS else name.lower()


Uuid = Annotated[str, AfterValidator(_uuid)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(StrEnum):
    """On what a profile rests."""

    SPECIFICATION = "specification"  # written from documents; no device was seen
    CAPTURED = "captured"  # packets of a real device decode as expected
    BENCH = "bench"  # a real device was read with it


class Match(_Part):
    """Which advertisements fit: every service that is named, and one of the names (globs) if any is given."""

    services: tuple[Uuid, ...] = Field(min_length=1)
    names: tuple[str, ...] = ()


class Bond(StrEnum):
    """When the device wants to be bonded."""

    NEVER = "never"
    BEFORE_SUBSCRIBING = "before_subscribing"


class Link(_Part):
    """How to behave on the connection. `settle_ms` is waited after connecting, before anything is asked."""

    bond: Bond = Bond.BEFORE_SUBSCRIBING
    settle_ms: int = Field(default=0, ge=0, le=10_000)


class Records(_Part):
    """What is read, in which order, and when the device is done.

    `first_s` is how long the first record may take, `idle_s` the silence that ends a transfer which has no
    end of its own. `push_delay_s` is said only of devices that send at once what they measured: within so
    many seconds; it dates readings that have no usable time of their own.
    """

    characteristics: tuple[Uuid, ...] = Field(min_length=1)
    first_s: Decimal = Field(default=Decimal(30), gt=0)
    idle_s: Decimal = Field(default=Decimal(2), gt=0)
    overall_s: Decimal = Field(default=Decimal(180), gt=0)
    push_delay_s: int | None = Field(default=None, ge=0)


class Clock(_Part):
    """The device's clock.

    `read` is Current Time (2A2B) where there is one. It is written, after reading, when it is off by more
    than `maximum_drift_s` and `write` allows. `stated_uncertainty_s` is how far a clock is believed that
    could not be compared. Times within a day of `factory_default` are those of a clock never set.
    """

    read: Literal["2A2B"] | None = None
    write: bool = False
    maximum_drift_s: int = Field(default=60, ge=1)
    stated_uncertainty_s: int = Field(default=900, ge=0)
    factory_default: LocalDigits | None = None


class Decode(_Part):
    """Where the device departs from its specification's layout."""

    user_always: bool = False
    tail_order: Literal["little", "big"] = "little"
    zero_is_absent: tuple[Term, ...] = ()
    mass_resolution: Decimal | None = None


class DeviceProfile(_Part):
    """One kind of device. `name` is its path below `firmware_profiles` without ending."""

    title: str
    driver: str
    evidence: Evidence
    match: Match
    link: Link = Link()
    records: Records
    clock: Clock = Clock()
    decode: Decode = Decode()
    name: str
    content_hash: str

    @cached_property
    def characteristics(self) -> tuple[str, ...]:
        """The characteristics of the records as 128-bit UUIDs, in order."""
        return tuple(long_uuid(name) for name in self.records.characteristics)


def parse_profile(name: str, content: bytes) -> DeviceProfile:
    """Return the profile of a file's bytes; raise `Misconfigured` naming the key that is wrong."""
    try:
        keys = tomllib.loads(content.decode())
        digest = hashlib.sha256(content).hexdigest()
        return DeviceProfile.model_validate({**keys, "name": name, "content_hash": digest})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The profile {name} is no TOML: {error}.") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Misconfigured(f"The profile {name} is wrong. {wrong}.") from error


def load_profiles(root: Traversable | None = None) -> dict[str, DeviceProfile]:
    """Return every profile below `root` (default: those that come with Kiteline), by name."""
    found = _toml_files(root or files(PACKAGE), "")
    return {name: parse_profile(name, file.read_bytes()) for name, file in sorted(found)}


def _toml_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _toml_files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".toml"):
            yield f"{prefix}{entry.name.removesuffix('.toml')}", entry
