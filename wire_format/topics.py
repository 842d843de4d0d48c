"""Topics: kiteline/1/<site>/<gateway>/{up,receipt,down,status}. Names are checked, never escaped."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wire_format.errors import Misconfigured, Rejected

ROOT: Final = "kiteline/1"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class Channel(StrEnum):
    """The four ways between a home and its hospital."""

    UP = "up"  # sealed envelopes, home to hospital
    RECEIPT = "receipt"  # signed receipts, hospital to home
    DOWN = "down"  # sealed messages, hospital to home
    STATUS = "status"  # online or offline, retained; no health data


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of one gateway of one site."""

    site: str
    gateway: str
    channel: Channel

    def __post_init__(self) -> None:
        """Refuse names that a broker would read as a pattern or a level."""
        for name in (self.site, self.gateway):
            if not _NAME.fullmatch(name):
                raise Misconfigured(
                    f"{name!r} cannot be part of a topic: use 1 to 64 letters, digits, - or _, "
                    "beginning with a letter or digit."
                )

    def __str__(self) -> str:
        return f"{ROOT}/{self.site}/{self.gateway}/{self.channel}"


def parse(topic: str) -> Topic:
    """Return the parts of a topic, or raise `Rejected` if it is none of ours."""
    match topic.split("/"):
        case ["kiteline", "1", site, gateway, channel] if channel in set(Channel):
            try:
                return Topic(site, gateway, Channel(channel))
            except Misconfigured as error:
                raise Rejected(f"The topic {topic!r} has a name that is not allowed.") from error
        case _:
            raise Rejected(f"The topic {topic!r} is none of {ROOT}/<site>/<gateway>/<channel>.")


def subscription(site: str, channel: Channel) -> str:
    """Return the filter for one channel of every gateway of a site."""
    Topic(site, "any", channel)
    return f"{ROOT}/{site}/+/{channel}"
