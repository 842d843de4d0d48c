"""`edge-agent replay`: a capture through the drivers. What comes of it as JSON, what is wrong in words."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_drivers.capture import Capture, Session, differences, parse_capture, summary, written
from device_drivers.catalogue import Catalogue
from device_drivers.profile import DeviceProfile, load_profiles
from device_drivers.rehearsal import Rehearsal, rehearse
from edge_agent.durable import replace
from wire_format.errors import KitelineError, Misconfigured


def replay(
    file: Path, *, profile: str | None = None, profiles: Path | None = None, write_expect: bool = False
) -> int:
    """Rehearse every session of a capture; return 0 if each gave what it expects.

    A visit may end in an error of ours (a key is missing, a device refuses) and still have given what was
    expected; without any expectation it counts as wrong, and any other error always does. With `write_expect`
    what came is written into the file as what is expected; then every visit that ended in an error returns 1.
    Raises `Misconfigured` if the file or its profile is not understood.
    """
    capture = _read(file)
    chosen = _profile(capture, profile, profiles)
    came = [rehearse(chosen, session) for session in capture.sessions]
    if write_expect:
        capture = _expecting(capture, chosen, came)
        replace(file, written(capture).encode())
    shown = [_shown(session, one) for session, one in zip(capture.sessions, came, strict=True)]
    print(json.dumps({"profile": chosen.name, "sessions": shown}, ensure_ascii=False, indent=1))  # noqa: T201 - a command's output
    wrong = [
        text
        for session, one in zip(capture.sessions, came, strict=True)
        for text in _wrong(session, one, strict=write_expect)
    ]
    for text in wrong:
        print(text, file=sys.stderr)  # noqa: T201 - as above
    return 1 if wrong else 0


def _read(file: Path) -> Capture:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Misconfigured(f"The capture {file} cannot be read ({error.strerror}).") from error
    return parse_capture(str(file), content)


def _profile(capture: Capture, name: str | None, folder: Path | None) -> DeviceProfile:
    known = Catalogue(None if folder is None else load_profiles(folder))
    wanted = name or capture.profile
    if name is None and wanted not in known.profiles:
        raise Misconfigured(
            f"The capture is of the profile {wanted!r}, which does not exist here: say with --profile which "
            f"one is to read it. There are: {', '.join(sorted(known.profiles))}."
        )
    return known.named(wanted)


def _expecting(capture: Capture, profile: DeviceProfile, came: Sequence[Rehearsal]) -> Capture:
    sessions = tuple(
        session.model_copy(update={"expect": tuple(_items(one))})
        for session, one in zip(capture.sessions, came, strict=True)
    )
    return capture.model_copy(update={"sessions": sessions, "profile": profile.name})


def _items(came: Rehearsal) -> list[dict[str, Any]]:
    return [said for said in map(summary, came.readings) if said["kind"] != "device_event"]


def _shown(session: Session, came: Rehearsal) -> dict[str, Any]:
    return {
        "session": session.id,
        "items": [summary(reading) for reading in came.readings],
        "unrecorded": list(came.unrecorded),
        "ended": None if came.ended is None else _error(came.ended),
    }


def _wrong(session: Session, came: Rehearsal, *, strict: bool) -> list[str]:
    found = differences(list(came.readings), session.expect)
    named = isinstance(came.ended, KitelineError | TimeoutError) and session.expect and not strict
    if came.ended is not None and not named:
        found.append(f"the visit ended with {_error(came.ended)}")
    return [f"Session {session.id}: {text}" for text in found]


def _error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
