"""A ward of one home: readings come when they are measured, and somebody does something about its items."""

import datetime as dt
from pathlib import Path
from uuid import UUID

from cloud_bridge.alerts import Act, Actor, Alert, Move, Request
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from wire_format.measurement import Measurement

HOUR = dt.timedelta(hours=1)
QUARTER = dt.timedelta(minutes=15)


class Ward(BridgeDesk):
    """One home, whose readings come when they are measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home = SealingHome()

    def measure(self, hours: float, systolic: str = "192", *, minutes: float = 0) -> Measurement:
        """A pressure so many hours after NOW; the bridge has it half a minute later."""
        m = blood_pressure(systolic, "100", minutes=hours * 60 + minutes)
        self.now = NOW + dt.timedelta(hours=hours, minutes=minutes, seconds=30)
        self.receive(self.home, self.home.seal(told(m)))
        return m

    def at_once(self, *readings: tuple[float, str, str]) -> None:
        """Pressures at minutes after NOW, in one envelope that comes half a minute after the last."""
        made = [blood_pressure(high, low, minutes=at) for at, high, low in readings]
        self.now = NOW + dt.timedelta(minutes=readings[-1][0], seconds=30)
        self.receive(self.home, self.home.seal([one for m in made for one in told(m)]))

    def item(self) -> Alert:
        """The only item there is."""
        (one,) = self.store.alerts.open_alerts()
        return one

    def move(self, move: Move, actor: Actor = Actor.PERSON, request: Request | None = None) -> bool:
        act = Act(move, actor, self.now, "nurse-1", request=request)
        return self.store.alerts.move(self.item().alert_id, act).held

    def said(self, alert: UUID) -> list[str]:
        return [e.what for e in self.store.alerts.events(alert)]

    def clocks(self) -> list[dt.datetime]:
        """When each item that waits for somebody is looked at again."""
        return [t["due_at"] for t in self.table("timer") if t["subject"].startswith("due:")]

    def states(self) -> list[str]:
        return sorted(r["state"] for r in self.table("alert") if r["rule"] in {"BP-SEVERE", "GLU-LOW-2"})

    def folded(self) -> UUID:
        (one,) = [row for row in self.table("alert") if row["state"] == "folded"]
        found: UUID = one["id"]
        return found
