"""Scenarios as data: who lives in a home, which devices they own, and what they measure when. TOML."""

import tomllib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from virtual_home.devices.pairing import Pairing
from virtual_home.devices.peripheral import DeviceSpec
from wire_format.errors import Misconfigured

FOLDER: Final = files("virtual_home") / "scenarios"

# TOML has no decimals; a value is written as text so that its digits are exact.
Exact = Annotated[Decimal, BeforeValidator(lambda v: Decimal(v) if isinstance(v, str) else v)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceEntry(_Part):
    """One device of the home. See `DeviceSpec` for the meaning of its habits."""

    key: str
    kind: Literal[
        "cuff",
        "glucose_meter",
        "scale",
        "thermometer",
        "oximeter",
        "omron_memory",
        "omron_timed",
        "and_cuff",
        "and_scale",
        "microlife",
        "yonker",
        "enhanced_cuff",
        "continuous_oximeter",
        "glucose_monitor",
        "composition_scale",
        "beurer_scale",
        "health_sensor",
        "mi_scale",
        "mi_composition_scale",
        "xiaomi_s400",
        "transtek_scale",
        "contour",
        "caresens",
        "dm30b",
        "verio_flex",
    ]
    address: str = Field(pattern=r"^[0-9A-F]{2}(:[0-9A-F]{2}){5}$")
    name: str
    maker: str
    model: str
    serial: str
    person: str
    keeps: bool = True
    clock_offset_s: int | None = 0
    clock_absent: bool = False
    clock_writable: bool = True
    advertises_s: float = 30.0
    closes_after_s: float = 0.5
    memory: int = Field(default=60, ge=1)
    pairing: Pairing = "just_works"
    passkey: int = Field(default=0, ge=0, le=999_999)
    advertises_every_ms: int = Field(default=20, ge=20, le=10_240)
    slot: int = Field(default=1, ge=0, le=255)
    consent_code: int = Field(default=0, ge=0, le=9999)

    def spec(self, zone_offset_minutes: int) -> DeviceSpec:
        """Return what the virtual device is built from."""
        habits = self.model_dump(exclude={"person", "clock_absent"})
        if self.clock_absent:
            habits["clock_offset_s"] = None
        return DeviceSpec(**habits, zone_offset_minutes=zone_offset_minutes)


class CableEntry(_Part):
    """A meter on a serial cable. The cable is a pty, `<key>.tty` beside the control socket."""

    key: str = Field(pattern=r"^[a-z0-9_-]+$")
    kind: Literal["ultra2", "ultraeasy", "freestyle_lite", "freestyle_optium", "codefree", "taidoc"]
    serial: str
    person: str
    clock_offset_s: int = 0


class Act(_Part):
    """One measurement: `after_s` seconds after the one before; without values they come from the person."""

    device: str
    after_s: float = Field(ge=0)
    values: dict[str, Exact] = {}
    say: str = ""


class Scenario(_Part):
    """One home.

    With `begins_at` its clocks stand at that moment, and move by a minute with each measurement: then what
    devices say is the same in every run. Without it they go with the real time.
    """

    title: str
    seed: int
    zone_offset_minutes: int = 480
    begins_at: AwareDatetime | None = None
    devices: tuple[DeviceEntry, ...] = Field(min_length=1)
    cables: tuple[CableEntry, ...] = ()
    acts: tuple[Act, ...] = ()

    @model_validator(mode="after")
    def _known_devices(self) -> "Scenario":
        known = {device.key for device in self.devices} | {cable.key for cable in self.cables}
        strangers = [act.device for act in self.acts if act.device not in known]
        if strangers:
            raise ValueError(f"acts name the devices {strangers}, which the home does not have")
        return self


def numbered_device(number: int, key: str, kind: str, *, keeps: bool = True) -> DeviceEntry:
    """Return one of many invented devices, each with a person of its own; `number` is 1 to 255."""
    return DeviceEntry.model_validate(
        {
            "key": key,
            "kind": kind,
            "address": f"C0:49:5F:00:01:{number:02X}",
            "name": f"D-{number}",
            "maker": "Example",
            "model": f"{kind}-1",
            "serial": f"S-{number:04}",
            "person": f"p-{key}",
            "keeps": keeps,
            "advertises_s": 120.0,
        }
    )


def load_scenario(name: str) -> Scenario:
    """Return a scenario that comes with Kiteline, or one of a file; raise `Misconfigured` naming the key."""
    path = Path(name)
    try:
        if path.suffix == ".json":
            return Scenario.model_validate_json(path.read_bytes())
        text = path.read_bytes() if path.suffix == ".toml" else (FOLDER / f"{name}.toml").read_bytes()
        keys: dict[str, Any] = tomllib.loads(text.decode())
        return Scenario.model_validate(keys)
    except OSError as error:
        raise Misconfigured(f"There is no scenario {name}: give a name or a .toml file.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The scenario {name} is no TOML: {error}.") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Misconfigured(f"The scenario {name} is wrong. {wrong}.") from error
