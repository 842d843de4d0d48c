"""Measurement: what a device said once, with everything needed to judge it, and its identity.

A measurement is immutable. Whose it is and when it was taken are later statements about it
(`wire_format.statements`); this file holds only what was known when the device was read.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from wire_format.base import LocalDigits, Utc, Wire
from wire_format.nomenclature import Quantity, Term, Unit


class Absent(StrEnum):
    """Why a component has no value (IEEE 11073-20601 special values, and what profiles add)."""

    NOT_A_NUMBER = "not_a_number"  # NaN: the device has no valid result
    NOT_AT_THIS_RESOLUTION = "not_at_this_resolution"  # NRes
    ABOVE_RANGE = "above_range"  # +INF, or the meter shows HI
    BELOW_RANGE = "below_range"  # -INF, or the meter shows LO
    RESERVED_VALUE = "reserved_value"  # a special value the standard reserves
    UNSUCCESSFUL = "unsuccessful"  # 0xFFFF in weight and body composition
    NOT_MEASURED = "not_measured"  # the profile's sentinel, as a mean pressure of 0


class Failure(StrEnum):
    """Why a measurement as a whole gave no result."""

    NO_RESULT = "no_result"  # every value is absent
    DEVICE_FAULT = "device_fault"  # the status says that the sensor failed
    INTERRUPTED = "interrupted"  # strip pulled out, person moved off the scale


class Remark(StrEnum):
    """What a reader must know beside the value. A remark never changes a value."""

    RESERVED_BITS = "reserved_bits"  # flags or status bits the specification reserves were set
    TRAILING_BYTES = "trailing_bytes"  # bytes were left after the last field
    IMPLAUSIBLE = "implausible"  # outside of the plausible range of its term
    DIASTOLIC_NOT_BELOW_SYSTOLIC = "diastolic_not_below_systolic"
    CLOCK_UNSET = "clock_unset"  # no time, year 0, or within a day of the factory default
    CLOCK_INVALID = "clock_invalid"  # date digits that no calendar has, as month 13
    CLOCK_AHEAD = "clock_ahead"  # the device states a time that has not come yet
    POSSIBLE_REPETITION = "possible_repetition"  # equal bytes shortly before, from a device without clock
    STORED_RECORD = "stored_record"  # came out of the device's memory, not live
    QUESTIONABLE = "questionable"  # the device itself says that the value may be wrong
    EARLY_ESTIMATE = "early_estimate"  # the device says that the value has not settled yet


class Component(Wire):
    """One value of a measurement: exact decimal in the device's own unit, or the reason why there is none."""

    term: Term
    unit: Unit
    value: Decimal | None = None
    absent: Absent | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.value is None) == (self.absent is None):
            raise ValueError("a component has either a value or a reason for having none")
        return self


class PulseRange(StrEnum):
    """Blood Pressure Measurement status bits 3-4."""

    WITHIN = "within"
    ABOVE = "above"
    BELOW = "below"
    RESERVED = "reserved"


class BloodPressureContext(Wire):
    """Fields of 0x2A35 beside the values; None where the device did not say."""

    about: Literal["blood_pressure"] = "blood_pressure"
    movement: bool | None = None
    cuff_loose: bool | None = None
    irregular_pulse: bool | None = None
    pulse_range: PulseRange | None = None
    improper_position: bool | None = None
    status_bits: int | None = None


class Meal(StrEnum):
    """Glucose Measurement Context, Meal field."""

    PREPRANDIAL = "preprandial"
    POSTPRANDIAL = "postprandial"
    FASTING = "fasting"
    CASUAL = "casual"
    BEDTIME = "bedtime"
    RESERVED = "reserved"


class Specimen(StrEnum):
    """Glucose Measurement, Type nibble (1 to 10)."""

    CAPILLARY_WHOLE_BLOOD = "capillary_whole_blood"
    CAPILLARY_PLASMA = "capillary_plasma"
    VENOUS_WHOLE_BLOOD = "venous_whole_blood"
    VENOUS_PLASMA = "venous_plasma"
    ARTERIAL_WHOLE_BLOOD = "arterial_whole_blood"
    ARTERIAL_PLASMA = "arterial_plasma"
    UNDETERMINED_WHOLE_BLOOD = "undetermined_whole_blood"
    UNDETERMINED_PLASMA = "undetermined_plasma"
    INTERSTITIAL_FLUID = "interstitial_fluid"
    CONTROL_SOLUTION = "control_solution"
    RESERVED = "reserved"


class GlucoseContext(Wire):
    """Fields of 0x2A18 and 0x2A34 beside the value; None where the device did not say.

    `amount` decimals are in the units of the specification: kg, L, seconds, percent. `annunciation_bits` are
    those of continuous glucose (0x2AA7): status octet, then calibration and temperature, then warning, the
    first in the lowest byte; an octet that was not sent is 0.
    """

    about: Literal["glucose"] = "glucose"
    specimen: Specimen | None = None
    sample_location: int | None = Field(default=None, ge=0, le=15)
    sensor_status_bits: int | None = None
    control_solution: bool = False
    meal: Meal | None = None
    meal_code: int | None = None
    tester: int | None = None
    health: int | None = None
    carbohydrate_id: int | None = None
    carbohydrate_kg: Decimal | None = None
    exercise_seconds: int | None = None
    exercise_overrun: bool | None = None
    exercise_percent: int | None = None
    medication_id: int | None = None
    medication_kg: Decimal | None = None
    medication_litre: Decimal | None = None
    hba1c_percent: Decimal | None = None
    extended_flags: int | None = None
    annunciation_bits: int | None = None


class BodyContext(Wire):
    """Weight and body composition need no field beside their components yet."""

    about: Literal["body"] = "body"
    packets: int = 1


class TemperatureContext(Wire):
    """Where the thermometer was held.

    Temperature Type (0x2A1D): 1 armpit, 2 body, 3 ear, 4 finger, 5 gastro-intestinal, 6 mouth, 7 rectum,
    8 toe, 9 tympanum; other codes are reserved and kept.
    """

    about: Literal["temperature"] = "temperature"
    site: int | None = None


_TEST_BITS: Final = 1 << 10 | 1 << 11 | 1 << 12  # demonstration, testing, calibration


class OximetryContext(Wire):
    """PLX measurement status (16 bit) and device and sensor status (24 bit), as given.

    `continuous` says that this is one of a stream of readings (0x2A5F), and not a spot check.
    """

    about: Literal["oximetry"] = "oximetry"
    measurement_status_bits: int | None = None
    sensor_status_bits: int | None = None
    continuous: bool | None = None

    @property
    def test_data(self) -> bool:
        """Whether the device says that these are data of a demonstration, a test or a calibration."""
        return bool((self.measurement_status_bits or 0) & _TEST_BITS)


class SensorContext(Wire):
    """What a generic health sensor said beside its values: the MDC code of the whole, and its status bits."""

    about: Literal["sensor"] = "sensor"
    kind: int | None = None
    status_bits: int | None = None


Context = Annotated[
    BloodPressureContext
    | GlucoseContext
    | BodyContext
    | TemperatureContext
    | OximetryContext
    | SensorContext,
    Field(discriminator="about"),
]


class DeviceIdentity(Wire):
    """Who measured, fixed when the device was paired; pairing again never mints another `device_id`.

    `address` is the Bluetooth identity address, `system_id` the EUI-64 of 0x2A23 in hex without separators.
    """

    device_id: UUID
    maker: str
    model: str
    serial: str | None = None
    address: str | None = None
    system_id: str | None = None


class ClockTrust(StrEnum):
    """How far a device's own time can be believed."""

    SYNCHRONISED = "synchronised"  # this gateway set the clock and read it back
    COMPARED = "compared"  # the clock was read in this visit: the offset is known
    STATED = "stated"  # the device's word alone
    NONE = "none"  # no clock, or an unset one


class Instant(Wire):
    """A moment in UTC that lies within `uncertainty_ms` on either side (3000 years at most)."""

    utc: Utc
    uncertainty_ms: int = Field(ge=0, le=10**14)


class DeviceTime(Wire):
    """All that is known of when: the device's own time, the gateway's, their offset, and what follows.

    `received_uncertainty_ms` is None while the gateway does not know the time itself (clock never set since
    boot); then only `boot_id` and `monotonic_ns` are certain, and a later anchor of that boot re-dates.
    `push_delay_ms` is said of devices that send at once what they measured: within so many milliseconds.
    `stated` is the record's user-facing time (for glucose: base time plus offset). `measured` is derived
    and None when nothing is known.
    """

    received_at: Utc
    received_uncertainty_ms: int | None = Field(default=None, ge=0)
    boot_id: UUID
    monotonic_ns: int
    stated: LocalDigits | None = None
    stated_bytes: bytes | None = None
    base_time: LocalDigits | None = None
    offset_minutes: int | None = None
    clock_offset_ms: int | None = None
    zone_offset_minutes: int | None = None
    push_delay_ms: int | None = Field(default=None, ge=0)
    trust: ClockTrust = ClockTrust.NONE
    measured: Instant | None = None


class RawPacket(Wire):
    """Bytes as they came, and where from: a 16-bit UUID in hex ("2A35"), a long UUID, or a serial channel."""

    source: str
    data: bytes


class Provenance(Wire):
    """How the bytes became a measurement: enough to do it again after a decoder was corrected."""

    gateway: str
    software: str
    driver: str
    profile: str
    profile_hash: str
    firmware: str | None = None
    visit: int = Field(ge=0)
    ordinal: int = Field(ge=0)
    raw: tuple[RawPacket, ...] = Field(min_length=1)


class RecordKey(Wire):
    """What a record-keeping device calls its record: sequence number and base time as stored."""

    sequence: int
    base_time: str


class Measurement(Wire):
    """One act of measuring, as the device told it.

    `user` is the device's user slot (None: not said; 255: the device does not know).
    """

    measurement_id: UUID
    quantity: Quantity
    device: DeviceIdentity
    components: tuple[Component, ...] = Field(min_length=1)
    context: Context | None = None
    user: int | None = None
    failure: Failure | None = None
    record: RecordKey | None = None
    remarks: tuple[Remark, ...] = ()
    time: DeviceTime
    provenance: Provenance

    def component(self, term: Term) -> Component | None:
        """Return the component of `term`, or None if the device did not send one."""
        return next((c for c in self.components if c.term is term), None)

    def value(self, term: Term) -> Decimal | None:
        """Return the value of `term` in the device's own unit, or None if it is absent."""
        found = self.component(term)
        return None if found is None else found.value
