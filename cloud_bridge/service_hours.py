"""`[service]` of the configuration: when somebody is on duty, when nobody may be disturbed, whom to call."""

import datetime as dt
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from cloud_bridge.duty import Duty, Span
from service_kit.toml_config import Section

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class ServiceSection(Section):
    """Without this section somebody is on duty day and night. Times are of the site's `zone`.

    `closed` are days off; `open` are days that are worked although their weekday is not (the days that make
    up for a holiday), with the hours of the first weekday that is.
    """

    hours: dict[Weekday, tuple[dt.time, dt.time]] = Field(min_length=1)
    closed: tuple[dt.date, ...] = ()
    open: tuple[dt.date, ...] = ()
    quiet: tuple[dt.time, dt.time] | None = None
    emergency: str = Field(min_length=1, max_length=32)

    @field_validator("hours")
    @classmethod
    def _forward(cls, value: dict[Weekday, Span]) -> dict[Weekday, Span]:
        if any(not begins < ends for begins, ends in value.values()):
            raise ValueError('hours begin before they end, on the same day: write mon = ["08:00", "17:30"]')
        return value

    @model_validator(mode="after")
    def _quiet_is_a_span(self) -> Self:
        if self.quiet is not None and self.quiet[0] == self.quiet[1]:
            raise ValueError('quiet hours begin and end at different times: write quiet = ["22:00", "07:00"]')
        return self

    def duty(self, zone: dt.tzinfo) -> Duty:
        """Return what is asked whether somebody is on duty."""
        by_day: dict[str, Span] = dict(self.hours.items())
        return Duty(
            zone=zone,
            hours=tuple(by_day.get(day) for day in WEEKDAYS),
            closed=frozenset(self.closed),
            open=frozenset(self.open),
            open_hours=next(by_day[day] for day in WEEKDAYS if day in by_day),
            quiet=self.quiet,
            emergency=self.emergency,
        )
