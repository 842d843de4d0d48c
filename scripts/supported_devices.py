"""Write docs/supported_devices.md from the live catalogue, its captures, and docs/not_supported.toml."""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from device_drivers.capture import Capture, capture_of  # noqa: E402 - found through the line above
from device_drivers.catalogue import ADVERT_DRIVERS, SERIAL_DRIVERS, Catalogue  # noqa: E402 - as above
from device_drivers.profile import Bond, ClockWrite, DeviceProfile, Passkey  # noqa: E402 - as above

PAGE: Final = ROOT / "docs" / "supported_devices.md"
NOT_SUPPORTED: Final = ROOT / "docs" / "not_supported.toml"
VECTORS: Final = ROOT / "tests" / "captures" / "vector_ids.txt"

HEAD: Final = """# Supported devices

This page is written by `make docs` from the profiles themselves; do not edit it. How sure we are of a device
is its evidence: **bench** means that a real device was read with its profile, **captured** that packets of a
real device decode as they should, **specification** that it is written from documents and no device was seen.

How to add one: [add_a_device.md](add_a_device.md).
"""
OFF: Final = """
## Off by default

Written from documents alone. Name one in the configuration to use it, and tell us what comes of it:
`edge-agent record` makes a report that names nobody.

```
[profiles]
enable = ["{}"]
```
"""
LEFT: Final = """
## Known, and not supported
"""


def page() -> str:
    """Return the whole page."""
    profiles = Catalogue().profiles
    on = [p for p in profiles.values() if p.on_by_default]
    off = [p for p in profiles.values() if not p.on_by_default]
    parts = [HEAD, f"\n## On by default\n\n{_table(on)}", unverified(on)]
    if off:
        parts += [OFF.format(off[0].name), f"\n{_table(off)}", _exclusive(off), unverified(off)]
    return "".join([*parts, LEFT, *_left_out()])


COLUMNS: Final = ("Device", "Profile", "Link", "Driver", "What it measures", "Evidence", "Clock", "Pairing")


def _table(profiles: Iterable[DeviceProfile]) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(row_of, profiles)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def row_of(profile: DeviceProfile) -> tuple[str, ...]:
    """Return the cells of a profile's row."""
    return (
        profile.title,
        f"`{profile.name}`",
        _link(profile),
        f"`{profile.driver}`",
        ", ".join(_quantities(capture_of(profile.name))) or "nothing that a capture shows",
        profile.evidence.value,
        _clock(profile),
        _pairing(profile),
    )


def _link(profile: DeviceProfile) -> str:
    if profile.driver in SERIAL_DRIVERS:
        return f"cable, {', '.join(profile.match.usb)}"
    return "advertisements" if profile.driver in ADVERT_DRIVERS else "Bluetooth LE"


def _quantities(capture: Capture | None) -> list[str]:
    """Return what the captures of a profile show, in words."""
    sessions = () if capture is None else capture.sessions
    found = {one["quantity"] for session in sessions for one in session.expect if "quantity" in one}
    return sorted(name.replace("_", " ") for name in found)


_WRITES: Final[Mapping[ClockWrite, str]] = {
    ClockWrite.NEVER: "never set",
    ClockWrite.WHEN_OFF: "set when it is off",
    ClockWrite.AFTER_NOTIFICATION: "set when it is off, once it told its time",
    ClockWrite.ALWAYS: "set at each visit",
}


def _clock(profile: DeviceProfile) -> str:
    clock = profile.clock
    how = _WRITES[clock.write]
    return how if clock.believed else f"{how}; not believed"


_BONDS: Final[Mapping[Bond, str]] = {
    Bond.NEVER: "none",
    Bond.BEFORE_CONNECT: "while connecting",
    Bond.BEFORE_SUBSCRIBING: "at the first visit",
    Bond.ON_DEMAND: "when it asks for it",
    Bond.PER_SESSION: "at each visit",
}
_PASSKEYS: Final[Mapping[Passkey, str]] = {
    Passkey.NONE: "",
    Passkey.DEVICE_DISPLAY: ", passkey on its display",
    Passkey.DEVICE_LABEL: ", passkey on its label",
    Passkey.FIXED: ", a fixed passkey",
}


def _pairing(profile: DeviceProfile) -> str:
    if profile.driver in SERIAL_DRIVERS or profile.driver in ADVERT_DRIVERS:
        return "none"
    consent = "; consent code of the user" if profile.users.consent else ""
    return f"{_BONDS[profile.link.bond]}{_PASSKEYS[profile.link.passkey]}{consent}"


def _exclusive(profiles: Iterable[DeviceProfile]) -> str:
    names = [f"`{p.name}`" for p in profiles if p.match.exclusive]
    if not names:
        return ""
    why = "While it is off its devices are not read at all, as broader profiles would read them wrongly"
    return f"\n{why}: {', '.join(names)}.\n"


def unverified(profiles: Iterable[DeviceProfile]) -> str:
    """Return the facts of profiles that were never seen on a device, as a list."""
    doubts = [(p, fact) for p in profiles for fact in p.not_verified]
    if not doubts:
        return ""
    return "\nNever seen on a device:\n\n" + "".join(f"- `{p.name}`: {fact}\n" for p, fact in doubts)


def _left_out() -> Iterator[str]:
    rows = tomllib.loads(NOT_SUPPORTED.read_text())["known"]
    yield "\n| Device | Speaks | Why not |\n| --- | --- | --- |\n"
    for row in rows:
        yield f"| {row['device']} | {row['speaks']} | {row['reason']} |\n"


# --- the packets that are known ---


def known_ids() -> list[str]:
    """Return the id of every packet that is known to have been published."""
    return VECTORS.read_text().split()


def captured_ids() -> set[str]:
    """Return the ids that captures have: a session may name several packets."""
    files = [*ROOT.glob("tests/captures/*.json"), *ROOT.glob("firmware_profiles/**/*.capture.json")]
    return {part for file in files for text in _ids(json.loads(file.read_text())) for part in text.split()}


def _ids(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            yield value["id"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _ids(part)


def refused_ids() -> set[str]:
    """Return the ids of packets that are not supported, with a reason."""
    return {one for row in tomllib.loads(NOT_SUPPORTED.read_text())["known"] for one in row["ids"]}


def pending_ids() -> list[str]:
    """Return the ids of packets whose decoder is still to come."""
    found: list[str] = tomllib.loads(NOT_SUPPORTED.read_text())["pending"]["ids"]
    return found


def with_pending(text: str, ids: list[str]) -> str:
    """Return docs/not_supported.toml with another list of pending ids."""
    shown = "".join(f'  "{one}",\n' for one in ids)
    listed = f"ids = [\n{shown}]\n" if ids else "ids = []\n"
    return re.sub(r"(?<=\[pending\]\n)ids = \[.*?\]\n", listed, text, flags=re.DOTALL)


def main() -> int:
    """Write the page, and take out of the pending packets those that a capture has by now."""
    had = captured_ids()
    left = [one for one in pending_ids() if one not in had]
    NOT_SUPPORTED.write_text(with_pending(NOT_SUPPORTED.read_text(), left))
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(ROOT)}: {len(Catalogue().profiles)} profiles, {len(left)} packets pending")  # noqa: T201 - a report
    return 0


if __name__ == "__main__":
    sys.exit(main())
