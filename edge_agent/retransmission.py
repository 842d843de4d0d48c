"""When an envelope is published (again): pure, the monotonic time is an argument.

The schedule lives in memory: after a restart every unsettled envelope is due again, which costs a few
repetitions and saves the card a write per attempt. A jump of the clock does not touch it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_agent.outbox_file import EnvelopeKey


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently to repeat: after `first_s`, twice as long each time up to `longest_s`."""

    first_s: float = 30.0
    longest_s: float = 3600.0
    in_flight: int = 64

    def wait_s(self, attempts: int) -> float:
        """Return how long to wait for a receipt after so many attempts."""
        doublings = min(attempts - 1, 40)  # beyond that every pause is the longest one
        return min(self.first_s * 2.0**doublings, self.longest_s)


@dataclass(slots=True)
class Flight:
    """An envelope that was published and has no receipt."""

    attempts: int
    last_published_at: float


@dataclass(slots=True)
class Schedule:
    """What is in flight, and what is due."""

    pace: Pace
    flights: dict[EnvelopeKey, Flight] = field(default_factory=dict)

    def due(self, unsettled: Iterable[EnvelopeKey], now: float) -> list[EnvelopeKey]:
        """Return what to publish now, oldest first, keeping at most `in_flight` without a receipt."""
        room = self.pace.in_flight - len(self.flights)
        chosen = []
        for key in unsettled:
            flight = self.flights.get(key)
            if flight is None and room > 0:
                room -= 1
                chosen.append(key)
            elif flight is not None and self._due_at(flight) <= now:
                chosen.append(key)
        return chosen

    def published(self, key: EnvelopeKey, now: float) -> int:
        """Note an attempt; return how many there were."""
        before = self.flights.get(key)
        attempts = 1 if before is None else before.attempts + 1
        self.flights[key] = Flight(attempts, now)
        return attempts

    def settled(self, keys: Iterable[EnvelopeKey]) -> None:
        """Let go of what a receipt settled (or what is gone)."""
        for key in keys:
            self.flights.pop(key, None)

    def hospital_answers(self) -> None:
        """Let nothing wait longer than the first pause any more: a receipt came, so the line holds."""
        for flight in self.flights.values():
            flight.attempts = min(flight.attempts, 1)

    def start_over(self) -> None:
        """Take everything as not yet published: a new session, or the hospital asked to hear it again."""
        self.flights.clear()

    def next_due(self) -> float | None:
        """Return the monotonic time of the next repetition; None if nothing is in flight."""
        return min((self._due_at(flight) for flight in self.flights.values()), default=None)

    def _due_at(self, flight: Flight) -> float:
        return flight.last_published_at + self.pace.wait_s(flight.attempts)
