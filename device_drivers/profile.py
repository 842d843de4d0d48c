"""DeviceProfile: the typed form of one file of `firmware_profiles/`. Unknown keys are errors.

A profile is a declaration of about 25 lines; code exists only where a protocol differs. This is the only
file that reads `firmware_profiles`.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from device_drivers.link import uuid16
from wire_format.base import LocalDigits
from wire_format.errors import Misconfigured
from wire_format.nomenclature import Term

P = TypeVar("P", bound=BaseModel)

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


def _hex(text: str) -> str:
    bytes.fromhex(text)
    return text.lower()


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in a revision: "V1.10b" has 1 and 10."""
    return tuple(map(int, re.findall(r"[0-9]+", text)))


Uuid = Annotated[str, AfterValidator(_uuid)]
HexBytes = Annotated[str, AfterValidator(_hex)]
UsbId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
Version = Annotated[str, Field(pattern="[0-9]")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(StrEnum):
    """On what a profile rests."""

    SPECIFICATION = "specification"  # written from documents; no device was seen
    CAPTURED = "captured"  # packets of a real device decode as expected
    BENCH = "bench"  # a real device was read with it


class FirmwareRange(_Part):
    """Firmware revisions (0x2A26), both ends inclusive, compared by their numbers: 1.10 is above 1.9."""

    least: Version | None = None
    most: Version | None = None

    def holds(self, revision: str | None) -> bool:
        """Tell whether a device's revision lies within; one without numbers lies in no range."""
        numbers = version_numbers(revision or "")
        low, high = version_numbers(self.least or ""), version_numbers(self.most or "")
        return bool(numbers) and low <= numbers and (not high or numbers <= high)


class Match(_Part):
    """Which devices fit: everything that is named must hold.

    An advertisement has `services`, a name that fits one of the globs `names`, manufacturer data of `company`
    and service data of every one of `service_data`. `models` (globs of 0x2A24) and `firmware` are known only
    once connected: they make a profile narrower than the one that the advertisement alone chose. A cable is
    known by the USB ids of its serial adapter, as "067b:2303".

    `exclusive`: broader profiles read its devices wrongly. While this profile is off, a device that it fits
    more narrowly than any that is on is not read at all, and that is said.
    """

    services: tuple[Uuid, ...] = ()
    names: tuple[str, ...] = ()
    company: int | None = Field(default=None, ge=0, le=0xFFFF)
    service_data: tuple[Uuid, ...] = ()
    models: tuple[str, ...] = ()
    firmware: FirmwareRange | None = None
    usb: tuple[UsbId, ...] = ()
    exclusive: bool = False

    @model_validator(mode="after")
    def _enough(self) -> Self:
        on_air = bool(self.services or self.service_data or self.company is not None)
        if on_air == bool(self.usb):
            raise ValueError("name services, service_data or company of an advertisement, or usb of a cable")
        if self.exclusive and self.usb:
            raise ValueError("exclusive is of advertisements: on a cable the meter itself says what it is")
        return self

    @property
    def needs_connection(self) -> bool:
        """Whether the device must be asked before this is known to fit."""
        return bool(self.models or self.firmware)


class Bond(StrEnum):
    """When the device wants to be bonded. The bond is kept, but for `PER_SESSION`."""

    NEVER = "never"
    BEFORE_CONNECT = "before_connect"  # while connecting, before its services are asked for
    BEFORE_SUBSCRIBING = "before_subscribing"  # connected, before anything else
    ON_DEMAND = "on_demand"  # only when it refuses something for lack of it
    PER_SESSION = "per_session"  # anew at each visit


class AgentCapability(StrEnum):
    """What the gateway says it can show and ask while pairing (Core Vol 3 Part C 5.2.2.4, BlueZ's words)."""

    NO_INPUT_NO_OUTPUT = "NoInputNoOutput"
    DISPLAY_ONLY = "DisplayOnly"
    KEYBOARD_ONLY = "KeyboardOnly"
    DISPLAY_YES_NO = "DisplayYesNo"
    KEYBOARD_DISPLAY = "KeyboardDisplay"


class Passkey(StrEnum):
    """Where the six digits are to be read that pairing asks for."""

    NONE = "none"
    DEVICE_DISPLAY = "device_display"
    DEVICE_LABEL = "device_label"
    FIXED = "fixed"  # the same for every device of this kind: `fixed_passkey`


class Asking(StrEnum):
    """When the device is asked what it is (Device Information Service)."""

    EACH_VISIT = "each_visit"
    FIRST_VISIT = "first_visit"  # it bears few questions: its firmware is then not known at later visits


class Link(_Part):
    """How to behave on the connection. `settle_ms` is waited after connecting, before anything is asked."""

    bond: Bond = Bond.BEFORE_SUBSCRIBING
    agent: AgentCapability = AgentCapability.NO_INPUT_NO_OUTPUT
    passkey: Passkey = Passkey.NONE
    fixed_passkey: int | None = Field(default=None, ge=0, le=999_999)
    settle_ms: int = Field(default=0, ge=0, le=10_000)
    ask_what_it_is: Asking = Asking.EACH_VISIT

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.passkey is Passkey.FIXED) != (self.fixed_passkey is not None):
            raise ValueError('fixed_passkey goes with passkey = "fixed", and only with it')
        if self.passkey is not Passkey.NONE and self.agent is AgentCapability.NO_INPUT_NO_OUTPUT:
            raise ValueError("a passkey needs an agent that can ask: KeyboardOnly or KeyboardDisplay")
        return self


class StepKind(StrEnum):
    """What one step of a sequence does."""

    WAIT = "wait"
    READ = "read"
    WRITE = "write"
    SUBSCRIBE = "subscribe"
    CLOCK = "clock"  # compare the clock, and set it where [clock] allows
    CONSENT = "consent"  # User Data Service: consent for the user of this visit


class SequenceStep(_Part):
    """One step before records come: `on` is a characteristic, `hex` what is written, `ms` how long to wait.

    `refusal_ends` says whether the visit ends if the device refuses the step; else the next one is taken.
    """

    do: StepKind
    on: Uuid | None = None
    hex: HexBytes | None = None
    ms: int = Field(default=0, ge=0, le=60_000)
    refusal_ends: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        where = self.do in {StepKind.READ, StepKind.WRITE, StepKind.SUBSCRIBE}
        if where != (self.on is not None) or (self.do is StepKind.WRITE) != (self.hex is not None):
            raise ValueError("read, write and subscribe say `on` what; write says `hex`; others neither")
        if (self.do is StepKind.WAIT) != (self.ms > 0):
            raise ValueError("wait says how many `ms`, and nothing else does")
        return self


class RecordSource(StrEnum):
    """How readings leave the device."""

    PUSH = "push"  # it sends by itself, once subscribed
    RACP = "racp"  # it is asked through a Record Access Control Point
    INDEX = "index"  # its memory is read by number or address
    ADVERT = "advert"  # they are in its advertisements


class RecordOrder(StrEnum):
    """In which order stored records come."""

    OLDEST_FIRST = "oldest_first"
    NEWEST_FIRST = "newest_first"
    UNKNOWN = "unknown"


class Records(_Part):
    """What is read, in which order, and when the device is done.

    `first_s` is how long the first record may take, `idle_s` the silence that ends a transfer which has no
    end of its own. `push_delay_s` is said only of devices that send at once what they measured: within so
    many seconds; it dates readings that have no usable time of their own. `destructive`: the device forgets
    what was sent (or confirmed). `acknowledged`: it waits for the driver's answer before the next record.
    `renumbered`: it numbers its records anew with each measurement: a number names none of them.
    """

    source: RecordSource = RecordSource.PUSH
    characteristics: tuple[Uuid, ...] = ()
    first_s: Decimal = Field(default=Decimal(30), gt=0)
    idle_s: Decimal = Field(default=Decimal(2), gt=0)
    overall_s: Decimal = Field(default=Decimal(180), gt=0)
    push_delay_s: int | None = Field(default=None, ge=0)
    order: RecordOrder = RecordOrder.UNKNOWN
    destructive: bool = False
    acknowledged: bool = False
    every_s: int | None = Field(default=None, ge=1)
    paired: bool = False
    first_offered: bool = False
    renumbered: bool = False


class ClockWrite(StrEnum):
    """When the device's clock may be set."""

    NEVER = "never"
    WHEN_OFF = "when_off"  # whenever it is off by more than `maximum_drift_s`, or not readable
    AFTER_NOTIFICATION = "after_notification"  # as above, but only once it has notified its time
    ALWAYS = "always"  # at each visit: it cannot be read, or loses it


class ClockZone(StrEnum):
    """What the digits of the device's clock mean."""

    LOCAL = "local"  # the home's zone
    UTC = "utc"


class Clock(_Part):
    """The device's clock.

    `characteristic` is where it is read and written, in `layout` (see `device_drivers.clock_layouts`; vendor
    commands are a driver's own). `verify` reads it back after setting. `stated_uncertainty_s` is how far a
    clock is believed that could not be compared; `believed = false`: not at all. Times within a day of
    `factory_default` are those of a clock never set, and so are all before `unset_before`: a clock that was
    never set may run on from its default. `elsewhere`: other characteristics of the same clock, in other
    firmware; the first that the device offers is used.
    """

    characteristic: Uuid | None = None
    elsewhere: tuple[Uuid, ...] = ()
    layout: str = "current_time"
    zone: ClockZone = ClockZone.LOCAL
    readable: bool = True
    write: ClockWrite = ClockWrite.NEVER
    maximum_drift_s: int = Field(default=60, ge=1)
    verify: bool = False
    believed: bool = True
    stated_uncertainty_s: int = Field(default=900, ge=0)
    factory_default: LocalDigits | None = None
    unset_before: LocalDigits | None = None


class Decode(_Part):
    """Where the device departs from its specification's layout, or from what is plausible.

    `absent` are values that say "not measured", by term. `plausible` are narrower or wider bounds than
    the nomenclature's, by term, in its canonical unit. Reserved bits never make a reading fail. `derived` are
    terms that the device works out without measuring: a packet with nothing but them is a placeholder.
    `ketone_meal` is the meal code by which a meter says that a record is a ketone (tenths of mmol/L where
    mg/dL stands else): a record whose context is missing is then not known to be glucose.
    """

    user_always: bool = False
    tail_order: Literal["little", "big"] = "little"
    zero_is_absent: tuple[Term, ...] = ()
    absent: dict[Term, tuple[Decimal, ...]] = {}
    mass_resolution: Decimal | None = None
    ketone_meal: int | None = Field(default=None, ge=0, le=255)
    plausible: dict[Term, tuple[Decimal, Decimal]] = {}
    derived: tuple[Term, ...] = ()


class Users(_Part):
    """People that the device tells apart.

    `slots` is how many; `unknown` the number by which it says that it does not know; with `consent` it gives
    a person's readings only to whom knows that slot's code (User Data Service).
    """

    slots: int | None = Field(default=None, ge=1, le=255)
    unknown: int = Field(default=255, ge=0, le=255)
    consent: bool = False


class DeviceProfile(_Part):
    """One kind of device. `name` is its path below `firmware_profiles` without ending.

    `steps` replaces what the driver does before records come. `protocol` is what a vendor's driver must know
    of this model (addresses, record layout): that driver says which keys there are. `not_verified` lists, in
    words, what was never seen on a device.
    """

    title: str
    driver: str
    evidence: Evidence
    match: Match
    link: Link = Link()
    steps: tuple[SequenceStep, ...] = ()
    records: Records
    clock: Clock = Clock()
    decode: Decode = Decode()
    users: Users = Users()
    protocol: dict[str, Any] = {}
    not_verified: tuple[str, ...] = ()
    name: str
    content_hash: str

    @property
    def on_by_default(self) -> bool:
        """Whether it is used without being named in the configuration: not without a real capture."""
        return self.evidence is not Evidence.SPECIFICATION

    def protocol_as(self, shape: type[P]) -> P:
        """Return `protocol` in the shape of its driver; raises `Misconfigured` naming the key."""
        try:
            return shape.model_validate(self.protocol)
        except ValidationError as error:
            raise Misconfigured(f"The profile {self.name} is wrong. {_wrong(error, 'protocol')}.") from error

    @cached_property
    def characteristics(self) -> tuple[str, ...]:
        """The characteristics of the records as 128-bit UUIDs, in order."""
        return tuple(long_uuid(name) for name in self.records.characteristics)


@lru_cache(maxsize=512)
def parse_profile(name: str, content: bytes) -> DeviceProfile:
    """Return the profile of a file's bytes; raise `Misconfigured` naming the key that is wrong.

    Profiles do not change, and a bundle is looked at many times before it is in use: what is known is kept.
    """
    try:
        keys = tomllib.loads(content.decode())
        digest = hashlib.sha256(content).hexdigest()
        return DeviceProfile.model_validate({**keys, "name": name, "content_hash": digest})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The profile {name} is no TOML: {error}.") from error
    except ValidationError as error:
        raise Misconfigured(f"The profile {name} is wrong. {_wrong(error)}.") from error


def _wrong(error: ValidationError, *within: str) -> str:
    """Say which keys are wrong, and how."""
    return "; ".join(f"{'.'.join(map(str, (*within, *e['loc'])))}: {e['msg']}" for e in error.errors())


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
