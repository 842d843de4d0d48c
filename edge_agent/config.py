"""Configuration: one TOML file. An unknown key is an error that names the file, the key and what to write."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from device_drivers.profile import UsbId
from edge_agent.outbox import Limits
from edge_agent.retransmission import Pace
from service_kit.toml_config import BrokerSection, Section, load_toml
from wire_format.base import Utc
from wire_format.errors import Misconfigured
from wire_format.topics import Channel, Topic

BIND_KEY_BYTES: Final = 16
DEFAULT_PATH: Final = Path("/etc/kiteline/edge-agent.toml")


class VirtualRadio(Section):
    """A controller that is not Linux's: only for the virtual home."""

    virtual: str
    bonds: Path | None = None


class KeyPaths(Section):
    """Where the gateway's own keys are, and the hospital's public ones."""

    gateway: Path
    hospital: Path


class Retransmission(Section):
    """How patiently envelopes without a receipt are published again."""

    first_s: float = Field(default=30, gt=0)
    longest_s: float = Field(default=3600, gt=0)
    in_flight: int = Field(default=64, ge=1, le=64)

    def pace(self) -> Pace:
        """Return it as the schedule takes it."""
        return Pace(self.first_s, self.longest_s, self.in_flight)


class OutboxSection(Section):
    """How much may wait for a receipt, and how much is kept after one."""

    max_waiting: int = Field(default=100_000, ge=1)
    max_waiting_mb: int = Field(default=512, ge=1)
    max_settled: int = Field(default=50_000, ge=0)

    def limits(self) -> Limits:
        """Return it as the outbox takes it."""
        return Limits(self.max_waiting, self.max_waiting_mb << 20, self.max_settled)


class ClockSection(Section):
    """Where the time comes from. Without `vouched_uncertainty_ms` the kernel is asked whether NTP keeps it.

    `boot_id` stands in for the kernel's: virtual homes repeat themselves with it.
    """

    vouched_uncertainty_ms: int | None = Field(default=None, ge=0)
    boot_id: UUID | None = None
    zone_offset_minutes: int | None = Field(default=None, ge=-840, le=840)


class Visits(Section):
    """Patience with devices. After a visit a device rests, longer each time it had nothing new.

    `links` is how many connections may be open at a time: adapters allow few.
    """

    links: int = Field(default=4, ge=1, le=16)
    connect_s: float = Field(default=20, gt=0)
    rest_s: float = Field(default=5, ge=0)
    longest_rest_s: float = Field(default=300, ge=0)


def parse_address(value: str) -> str:
    """Return a Bluetooth address in upper case; raises `ValueError`."""
    parts = value.split(":")
    if len(parts) != 6 or any(len(p) != 2 or set(p) - set("0123456789abcdefABCDEF") for p in parts):  # noqa: PLR2004 - six pairs of hex digits
        raise ValueError("a Bluetooth address is written like C0:FF:EE:00:00:01")
    return value.upper()


def _bind_key(value: SecretStr) -> SecretStr:
    try:
        right = len(bytes.fromhex(value.get_secret_value())) == BIND_KEY_BYTES
    except ValueError:
        right = False
    if not right:
        raise ValueError("a bind key is written as 32 hex digits")
    return value


BindKey = Annotated[SecretStr, AfterValidator(_bind_key)]


class PairingSection(Section):
    """`remove_stale_bonds` consents beforehand to exchange keys anew with a device that lost its own.

    Whoever advertises under its address at that moment could be taken for it.
    """

    remove_stale_bonds: bool = False


class ProfilesSection(Section):
    """Profiles to use although no real device was ever seen with them, by name.

    `key` is the public key of those who sign bundles of profiles; without it none is taken.
    """

    enable: tuple[str, ...] = ()
    key: Path | None = None


class DeviceSection(Section):
    """A device of this home: its identity address, and who uses it (or one of its user slots) since when.

    `consent_code` is the code of that slot, where the device asks for one (scales with a User Data Service).
    `bind_key` are the 32 hex digits that a device encrypts its advertisements with.
    """

    address: Annotated[str, AfterValidator(parse_address)]
    person: str = Field(min_length=1, max_length=64)
    since: Utc
    until: Utc | None = None
    slot: int | None = Field(default=None, ge=0, le=255)
    consent_code: int | None = Field(default=None, ge=0, le=9999, repr=False)
    bind_key: BindKey | None = None


class Adoption(Section):
    """Take every device that a profile fits as this person's, from the first visit or `since` on.

    Only where no neighbour is within reach of the radio: a virtual home, a workshop.
    """

    person: str = Field(min_length=1, max_length=64)
    since: Utc | None = None


class SerialSection(Section):
    """Serial cables: how often to look which are plugged in, and to ask whether a meter is on one.

    A meter that was read rests for `rest_s`. With [adopt] this section lets every adapter of an enabled
    profile be asked, named or not.
    """

    poll_s: float = Field(default=2, gt=0)
    ask_s: float = Field(default=60, gt=0)
    rest_s: float = Field(default=900, gt=0)


class CableSection(Section):
    """A cable of this home, and who uses the meter on it since when.

    The cable is known by its `port`, or by the `usb` id of its adapter, narrowed by `location` (the socket,
    as in "1-1.2") where two adapters are alike. `meter` is the serial number of the one meter that this is
    about; without it every meter on this cable is meant. Without `profile` each that fits is asked in turn.
    """

    port: Annotated[str, Field(pattern="^/")] | None = None
    usb: UsbId | None = None
    location: str | None = Field(default=None, min_length=1)
    profile: str | None = None
    meter: str | None = Field(default=None, min_length=1, max_length=64)
    person: str = Field(min_length=1, max_length=64)
    since: Utc
    until: Utc | None = None

    @model_validator(mode="after")
    def _one_cable(self) -> Self:
        if (self.port is None) == (self.usb is None):
            raise ValueError("a cable has either a port, as /dev/serial/by-path/..., or a usb id")
        if self.location is not None and self.usb is None:
            raise ValueError("location goes with usb, and only with it")
        return self

    @property
    def key(self) -> str:
        """What the cable is called here, as long as nobody writes another name."""
        return self.port or f"{self.usb}@{self.location or 'any'}"


class Config(Section):
    """The whole file."""

    site: str
    gateway: str
    state: Path
    radio: Literal["bluez"] | VirtualRadio = "bluez"
    keys: KeyPaths
    broker: BrokerSection
    retransmission: Retransmission = Retransmission()
    outbox: OutboxSection = OutboxSection()
    clock: ClockSection = ClockSection()
    visits: Visits = Visits()
    profiles: ProfilesSection = ProfilesSection()
    pairing: PairingSection = PairingSection()
    adopt: Adoption | None = None
    device: tuple[DeviceSection, ...] = ()
    serial: SerialSection | None = None
    cable: tuple[CableSection, ...] = ()

    @field_validator("radio", mode="before")
    @classmethod
    def _known_radio(cls, value: object) -> object:
        if value == "bluez" or isinstance(value, dict | VirtualRadio):
            return value
        raise ValueError('write "bluez", or leave it out; a virtual home\'s is { virtual = "PLACE" }')


def load(path: Path) -> Config:
    """Return the configuration of a file; raise `Misconfigured` saying what to write where."""
    config = load_toml(path, Config)
    try:
        Topic(config.site, config.gateway, Channel.UP)
    except Misconfigured as error:
        raise Misconfigured(f"{path}: site or gateway: {error}") from error
    return config
