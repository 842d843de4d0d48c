"""A day of fifty patients from one seed: what their homes say, with the truth of it."""

import datetime as dt
import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tests.doubles.bridge_desk import assigned, redated
from tests.doubles.bridge_readings import NOW
from tests.doubles.hospital_truth import MEAL, MEALS, Observed, Person, Truth
from wire_format.codec import Item
from wire_format.identity import derived_id, device_id, stated_id
from wire_format.measurement import (
    Absent,
    BloodPressureContext,
    BodyContext,
    ClockTrust,
    Component,
    Context,
    DeviceIdentity,
    DeviceTime,
    Failure,
    GlucoseContext,
    Instant,
    Meal,
    Measurement,
    OximetryContext,
    Provenance,
    RawPacket,
    Specimen,
    TemperatureContext,
)
from wire_format.nomenclature import Quantity, Term, Unit

SEED: Final = 20261124
PATIENTS: Final = 50


@dataclass
class Said:
    """One envelope: who was measured, and the items as their home seals them."""

    person: Person
    items: list[Item]


class Day:
    """The morning (`first`) and what was said of it later (`then`), with the truth after each."""

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a day that can be repeated
        self._visits = Counter[tuple[str, Quantity]]()
        self.people = [Person(index) for index in range(PATIENTS)]
        self.truth = Truth()
        self.first: list[Said] = []
        self.then: list[Said] = []
        self._morning()
        self._random.shuffle(self.first)

    # --- the morning ---

    def _morning(self) -> None:
        kinds = [self.pressure, self.sugar, self.mass, self.composition, self.warmth, self.oxygen]
        for person in self.people:
            for kind in self._random.sample(kinds, 2):
                self.say(person, kind(person))
        one = iter(self.people)
        self.say(who := next(one), self.pressure(who, failure=Failure.DEVICE_FAULT))
        # HI and LO are beyond every limit: China's urgent one above, the ADA's level 2 below.
        self.say(who := next(one), self.sugar(who, absent=Absent.ABOVE_RANGE))
        self.truth.alerts[who.number, "GLU-URGENT-CN"] += 1
        self.say(who := next(one), self.sugar(who, absent=Absent.BELOW_RANGE))
        self.truth.alerts[who.number, "GLU-LOW-2"] += 1
        self.say(who := next(one), self.sugar(who, control=True))
        self.say(who := next(one), self.oxygen(who, demonstration=True))
        self.say(who := next(one), self.sugar(who, meal=Meal.FASTING))
        self.say(who := next(one), self.pressure(who, systolic=193, diastolic=124))
        self.truth.alerts[who.number, "BP-SEVERE"] += 1
        self.say(who := next(one), self.pressure(who, systolic=190, diastolic=121))
        self.truth.alerts[who.number, "BP-SEVERE"] += 1
        self.say(one_more := next(one), self.sugar(one_more))
        self._amended, self._moved, self._dated = one_more, Person(20), Person(31)

    def say(self, person: Person, m: Measurement) -> Said:
        """Add a reading, with whose it is, to the day and to its truth."""
        self.truth.filed(person, m)
        self.first.append(Said(person, [m, assigned(m, person.pseudonym)]))
        return self.first[-1]

    # --- what was said later ---

    def afternoon(self) -> None:
        """A meal mark that came later, a reading that was the neighbour's, and a clock that was wrong."""
        before = self._found(self._amended, Quantity.GLUCOSE)
        told = GlucoseContext(specimen=Specimen.CAPILLARY_WHOLE_BLOOD, meal=Meal.POSTPRANDIAL)
        time = before.time.model_copy(update={"received_at": NOW + dt.timedelta(hours=6)})
        amended = before.model_copy(update={"context": told, "time": time})
        self.then.append(Said(self._amended, [amended]))
        self.truth.now_has(self._amended, before, "final", "amended")
        self.truth.observed[Observed(self._amended.number, MEAL, MEALS[Meal.POSTPRANDIAL], "amended")] += 1
        self.truth.origins += 1  # another envelope said it
        moved = self._found(self._moved, None)
        self.then.append(Said(self._moved, [assigned(moved, self._moved.neighbour.pseudonym, later=3600)]))
        self.truth.now_has(self._moved, moved, "final", "entered-in-error")
        self.truth.filed(self._moved.neighbour, moved, "amended")
        dated = self._found(self._dated, None)
        self.redated_to = NOW - dt.timedelta(hours=2)
        self.redated = dated
        self.then.append(Said(self._dated, [redated(dated, self.redated_to)]))
        self.truth.now_has(self._dated, dated, "final", "amended")

    def _found(self, person: Person, quantity: Quantity | None) -> Measurement:
        for said in sorted(self.first, key=lambda s: str(s.items[0])):
            m = said.items[0]
            assert isinstance(m, Measurement)
            plain = isinstance(m.context, GlucoseContext) and m.context.meal is None
            if said.person == person and (quantity is None or (m.quantity is quantity and plain)):
                return m
        raise AssertionError(f"{person} was not measured")

    # --- readings ---

    def pressure(
        self, person: Person, systolic: int = 0, diastolic: int = 0, *, failure: Failure | None = None
    ) -> Measurement:
        values = (
            systolic or self._random.randint(112, 126),
            diastolic or self._random.randint(66, 78),
            self._random.randint(60, 84),
        )
        terms = (Term.SYSTOLIC, Term.DIASTOLIC, Term.PULSE_RATE)
        units = (Unit.MMHG, Unit.MMHG, Unit.PER_MINUTE)
        absent = Absent.NOT_A_NUMBER if failure else None
        parts = tuple(
            _component(term, unit, absent or str(value))
            for term, unit, value in zip(terms, units, values, strict=True)
        )
        bits = self._random.choice([None, False])
        context = BloodPressureContext(movement=bits, cuff_loose=bits, irregular_pulse=bits)
        return self._measured(person, Quantity.BLOOD_PRESSURE, parts, context, failure)

    def sugar(
        self,
        person: Person,
        *,
        absent: Absent | None = None,
        control: bool = False,
        meal: Meal | None = None,
    ) -> Measurement:
        tenths = self._random.randint(48, 72)
        unit = self._random.choice([Unit.MMOL_PER_L, Unit.MG_PER_DL])
        value = f"{tenths // 10}.{tenths % 10}0" if unit is Unit.MMOL_PER_L else str(tenths * 18 // 10)
        context = GlucoseContext(specimen=Specimen.CAPILLARY_WHOLE_BLOOD, control_solution=control, meal=meal)
        part = _component(Term.GLUCOSE, unit, absent or value)
        return self._measured(person, Quantity.GLUCOSE, (part,), context)

    def mass(self, person: Person) -> Measurement:
        value = f"{self._random.randint(52, 90)}.{self._random.randint(0, 9)}0"
        part = _component(Term.BODY_WEIGHT, Unit.KG, value)
        return self._measured(person, Quantity.BODY_WEIGHT, (part,), BodyContext())

    def composition(self, person: Person) -> Measurement:
        fat = _component(Term.BODY_FAT, Unit.PERCENT, f"{self._random.randint(15, 34)}.5")
        height = _component(Term.BODY_HEIGHT, Unit.METRE, f"1.{self._random.randint(50, 90)}")
        return self._measured(person, Quantity.BODY_COMPOSITION, (fat, height), BodyContext())

    def warmth(self, person: Person) -> Measurement:
        value = f"36.{self._random.randint(1, 9)}"
        part = _component(Term.BODY_TEMPERATURE, Unit.CELSIUS, value)
        return self._measured(person, Quantity.BODY_TEMPERATURE, (part,), TemperatureContext(site=3))

    def oxygen(self, person: Person, *, demonstration: bool = False) -> Measurement:
        parts = (
            _component(Term.OXYGEN_SATURATION, Unit.PERCENT, str(self._random.randint(95, 99))),
            _component(Term.PULSE_RATE, Unit.PER_MINUTE, str(self._random.randint(60, 84))),
        )
        context = OximetryContext(measurement_status_bits=1 << 10 if demonstration else 0)
        return self._measured(person, Quantity.PULSE_OXIMETRY, parts, context)

    def _measured(
        self,
        person: Person,
        quantity: Quantity,
        components: tuple[Component, ...],
        context: Context,
        failure: Failure | None = None,
    ) -> Measurement:
        self._visits[person.gateway, quantity] += 1
        visit = self._visits[person.gateway, quantity]
        device = _device(person.gateway, quantity)
        at = NOW + dt.timedelta(minutes=2 * visit + list(Quantity).index(quantity))
        stated = (at + dt.timedelta(hours=8)).replace(tzinfo=None)
        reads_clock = quantity in {Quantity.BLOOD_PRESSURE, Quantity.GLUCOSE}
        identity = stated_id(device.device_id, quantity, stated, None, components)
        return Measurement(
            measurement_id=identity,
            quantity=quantity,
            device=device,
            components=components,
            context=context,
            failure=failure,
            time=DeviceTime(
                received_at=at,
                received_uncertainty_ms=50,
                boot_id=derived_id("boot", person.gateway),
                monotonic_ns=10**12 + visit,
                stated=stated,
                clock_offset_ms=1500 if reads_clock else None,
                zone_offset_minutes=480,
                trust=ClockTrust.COMPARED if reads_clock else ClockTrust.STATED,
                measured=Instant(utc=at, uncertainty_ms=1000),
            ),
            provenance=Provenance(
                gateway=person.gateway,
                software="0.1.0",
                driver="gatt_push",
                profile="standard/example",
                profile_hash="0" * 64,
                firmware="1.0",
                visit=visit,
                ordinal=1,
                raw=(RawPacket(source="2A35", data=identity.bytes),),
            ),
        )


def _component(term: Term, unit: Unit, value: str | Absent) -> Component:
    if isinstance(value, Absent):
        return Component(term=term, unit=unit, absent=value)
    return Component(term=term, unit=unit, value=Decimal(value))


def _device(gateway: str, quantity: Quantity) -> DeviceIdentity:
    home, kind = int(gateway.removeprefix("home-")), list(Quantity).index(quantity)
    serial = f"{quantity.value}-{home}"
    return DeviceIdentity(
        device_id=device_id("Example", quantity.value, serial, None),
        maker="Example",
        model=quantity.value,
        serial=serial,
        address=f"C0:49:5F:00:{home:02X}:{kind:02X}",
        system_id=f"c0495ffffe00{home:02x}{kind:02x}",
    )
