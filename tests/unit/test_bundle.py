"""Bundles of profiles: one attack a line. What is not signed, whole and newer is not used."""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from device_drivers.bundle import (
    CONTENT_TYPE,
    MAX_BYTES,
    built_in_version,
    files_of,
    make_bundle,
    open_bundle,
)
from device_drivers.profile import load_profiles
from edge_agent.cli import app
from edge_agent.profile_shelf import CURRENT, HIGHEST, INCOMING, REFUSED, Shelf
from wire_format import cose
from wire_format.canonical import decode, encode
from wire_format.errors import KitelineError, MalformedPacket, Misconfigured, Rejected, Untrusted
from wire_format.keys import SigningKey
from wire_format.receipt import CONTENT_TYPE as RECEIPT

AT = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
KEY, OTHER = SigningKey(b"k" * 32), SigningKey(b"o" * 32)
FILES = files_of()
CUFF, CAPTURE = "standard/blood_pressure.toml", "standard/blood_pressure.capture.json"


def made(version: int = 7, files: Mapping[str, bytes] = FILES, key: SigningKey = KEY) -> bytes:
    return make_bundle(files, version, AT, key)


GOOD = made()
SIGNATURE: bytes = decode(GOOD, MAX_BYTES)[0][-64:]


def remade(change: Callable[[dict[str, Any]], object], key: SigningKey = KEY, **header: str) -> bytes:
    """A bundle whose manifest says something else, signed again, as by a publisher's own mistake."""
    signed, content = decode(GOOD, MAX_BYTES)
    manifest = decode(cose.parse_sign1(signed, CONTENT_TYPE, {}).payload)
    change(manifest)
    kind = header.get("kind", CONTENT_TYPE)
    return encode([cose.sign1(cose.protected_header(kind, key, {}), encode(manifest), key), content])


def swapped(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """A bundle whose content was changed behind its manifest's back."""
    signed, content = decode(GOOD, MAX_BYTES)
    change(content)
    return encode([signed, content])


def test_a_good_bundle_says_what_readings_will_name() -> None:
    bundle = open_bundle(GOOD, KEY.public)
    assert (bundle.version, bundle.manifest.made_at, bundle.content) == (7, AT, FILES)
    assert bundle.profiles() == load_profiles()
    cuff = bundle.profiles()["standard/blood_pressure"]
    assert cuff.content_hash == hashlib.sha256(FILES[CUFF]).hexdigest()


ATTACKS: dict[str, tuple[bytes, type[KitelineError]]] = {
    "empty": (b"", MalformedPacket),
    "truncated": (GOOD[:-1], MalformedPacket),
    "cut in the middle": (GOOD[: len(GOOD) // 2], MalformedPacket),
    "something behind it": (GOOD + b"\0", MalformedPacket),
    "too large": (bytes(MAX_BYTES + 1), MalformedPacket),
    "no bundle": (encode({"a": 1}), Rejected),
    "no files": (encode([b"", {}]), Rejected),
    "content that is text": (encode([b"", {"a.toml": "x"}]), Rejected),
    "unsigned": (encode([encode({"version": 7}), FILES]), Rejected),
    "another's key": (made(key=OTHER), Untrusted),
    "another's signature under our key's name": (GOOD.replace(SIGNATURE, b"s" * 64), Untrusted),
    "a receipt of ours as manifest": (remade(lambda _: None, kind=RECEIPT), Rejected),
    "one profile changed": (swapped(lambda c: c.update({CUFF: c[CUFF] + b"\n"})), Rejected),
    "one file added": (swapped(lambda c: c.update({"evil/one.toml": b""})), Rejected),
    "one file left out": (swapped(lambda c: c.pop(CUFF)), Rejected),
    "a file renamed": (swapped(lambda c: c.update({"a/b.toml": c.pop(CUFF)})), Rejected),
    "a higher version written in": (remade(lambda m: m.update(version=99), OTHER), Untrusted),
    "version 0": (remade(lambda m: m.update(version=0)), Rejected),
    "version true": (remade(lambda m: m.update(version="x")), Rejected),
    "another format": (remade(lambda m: m.update(format="kiteline-bundle-2")), Rejected),
    "a path upwards": (remade(lambda m: m["files"][0].update(path="../x.toml")), Rejected),
    "an absolute path": (remade(lambda m: m["files"][0].update(path="/etc/x.toml")), Rejected),
    "a file twice": (remade(lambda m: m["files"].insert(0, m["files"][0])), Rejected),
    "an unknown field": (remade(lambda m: m.update(colour=1)), Rejected),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_the_last_good_one_stays(name: str, tmp_path: Path) -> None:
    data, error = ATTACKS[name]
    with pytest.raises(error):
        open_bundle(data, KEY.public)
    in_use(tmp_path, made(3))
    put(tmp_path, INCOMING, data)
    shelf = Shelf(tmp_path, KEY.public)
    assert shelf.catalogue().profiles
    assert (version_in_use(tmp_path), shelf.taken, len(shelf.refusals)) == (3, None, 1)
    assert (tmp_path / REFUSED).read_bytes() == data
    assert not (tmp_path / INCOMING).exists()


@pytest.mark.parametrize("at", range(0, len(GOOD), len(GOOD) // 97))
def test_a_changed_bit_is_refused(at: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= 1
    with pytest.raises((Rejected, Untrusted)):
        open_bundle(bytes(changed), KEY.public)


def put(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def in_use(folder: Path, data: bytes) -> None:
    put(folder, INCOMING, data)
    shelf = Shelf(folder, KEY.public)
    shelf.catalogue()
    assert shelf.taken is not None


def version_in_use(folder: Path) -> int:
    return open_bundle((folder / CURRENT).read_bytes(), KEY.public).version


def narrower(version: int) -> bytes:
    """A bundle of one profile, so that it can be told from the built-in ones."""
    return made(version, {name: FILES[name] for name in (CUFF, CAPTURE)})


def test_a_newer_bundle_replaces_the_built_in_profiles(tmp_path: Path) -> None:
    put(tmp_path, INCOMING, narrower(2))
    shelf = Shelf(tmp_path, KEY.public)
    assert list(shelf.catalogue().profiles) == ["standard/blood_pressure"]
    assert shelf.taken is not None
    again = Shelf(tmp_path, KEY.public)
    assert (list(again.catalogue().profiles), again.taken, again.refusals) == (
        ["standard/blood_pressure"],
        None,
        [],
    )
    # A newer Kiteline brings newer profiles: they are used, and nothing is said.
    newer = Shelf(tmp_path, KEY.public, built_in=3)
    assert (len(newer.catalogue().profiles), newer.refusals) == (len(load_profiles()), [])


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_or_equal_one_is_a_downgrade(version: int, tmp_path: Path) -> None:
    in_use(tmp_path, made(3))
    put(tmp_path, INCOMING, narrower(version))
    shelf = Shelf(tmp_path, KEY.public)
    shelf.catalogue()
    assert (version_in_use(tmp_path), "only a newer one is taken" in shelf.refusals[0]) == (3, True)
    with pytest.raises(Rejected, match="version 3 is in use"):
        shelf.install(narrower(version))


def test_an_old_one_in_the_place_of_the_current_one_is_seen(tmp_path: Path) -> None:
    in_use(tmp_path, made(3))
    put(tmp_path, CURRENT, narrower(2))
    shelf = Shelf(tmp_path, KEY.public)
    assert len(shelf.catalogue().profiles) == len(load_profiles())
    assert "version 3 was in use before" in shelf.refusals[0]
    put(tmp_path, INCOMING, narrower(2))
    after = Shelf(tmp_path, KEY.public)
    assert len(after.catalogue().profiles) == len(load_profiles())
    assert "version 3 was in use before" in after.refusals[0]
    in_use(tmp_path, made(3))


def test_a_current_one_that_the_card_lost_is_set_aside_once(tmp_path: Path) -> None:
    in_use(tmp_path, narrower(3))
    put(tmp_path, CURRENT, made(3)[:-9])
    shelf = Shelf(tmp_path, KEY.public)
    assert len(shelf.catalogue().profiles) == len(load_profiles())
    assert shelf.refusals[0].startswith("current.bundle: ")
    again = Shelf(tmp_path, KEY.public)
    assert (len(again.catalogue().profiles), again.refusals) == (len(load_profiles()), [])


def test_without_a_key_nothing_is_taken_or_moved(tmp_path: Path) -> None:
    put(tmp_path, INCOMING, GOOD)
    shelf = Shelf(tmp_path, None)
    shelf.catalogue()
    assert "[profiles] key" in shelf.refusals[0]
    assert (tmp_path / INCOMING).exists()


def test_what_this_kiteline_cannot_use_is_refused_before_it_is_in_use(tmp_path: Path) -> None:
    magic = FILES | {CUFF: FILES[CUFF].replace(b"gatt_push", b"magic")}
    signed, _ = decode(remade(lambda m: m["files"].__setitem__(slice(None), listed(magic))), MAX_BYTES)
    put(tmp_path, INCOMING, encode([signed, magic]))
    shelf = Shelf(tmp_path, KEY.public)
    shelf.catalogue()
    assert "names the driver 'magic'" in shelf.refusals[0]
    put(tmp_path, INCOMING, narrower(9))
    enabled = Shelf(tmp_path, KEY.public, ("standard/pulse_oximeter",))
    assert "standard/pulse_oximeter" in enabled.catalogue().on
    assert "There is no device profile 'standard/pulse_oximeter'" in enabled.refusals[0]


def listed(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"path": p, "size": len(d), "sha256": hashlib.sha256(d).digest()} for p, d in sorted(files.items())
    ]


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / INCOMING).mkdir(parents=True)
    shelf = Shelf(tmp_path, KEY.public)
    shelf.catalogue()
    assert "cannot be read (Is a directory)" in shelf.refusals[0]


def test_looking_moves_nothing(tmp_path: Path) -> None:
    put(tmp_path, INCOMING, GOOD)
    put(tmp_path, CURRENT, b"bad")
    Shelf(tmp_path, KEY.public, take=False).catalogue()
    assert sorted(p.name for p in tmp_path.iterdir()) == [CURRENT, INCOMING]


class PowerCutError(BaseException):
    """The machine is off from here on."""


class Torn:
    """A file that is written by half when the power goes."""

    def __init__(self, file: Any, left: list[int]) -> None:
        self.file, self.left = file, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        if self.left[0] == 0:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise PowerCutError
        self.left[0] -= 1
        self.file.write(data)


def torn(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    return lambda *args, **how: Torn(real(*args, **how), left)


def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, old, new = set(), made(3), narrower(4)
    for step in range(40):
        folder = tmp_path / str(step)
        in_use(folder, old)
        put(folder, INCOMING, new)
        left = [step]

        def cut(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
            def called(*args: Any, **how: Any) -> Any:
                if left[0] == 0:
                    raise PowerCutError
                left[0] -= 1
                return real(*args, **how)

            return called

        with monkeypatch.context() as patched:
            for where, name in (
                (os, "open"),
                (os, "fsync"),
                (os, "close"),
                (Path, "replace"),
                (Path, "unlink"),
            ):
                patched.setattr(where, name, cut(getattr(where, name), left))
            for where, name in ((os, "fdopen"), (Path, "open")):
                patched.setattr(where, name, torn(getattr(where, name), left))
            with suppress(PowerCutError):
                Shelf(folder, KEY.public).catalogue()
        seen.add((version_in_use(folder), left[0] > 0))
        assert (folder / CURRENT).read_bytes() in {old, new}
        after = Shelf(folder, KEY.public)
        assert len(after.catalogue().profiles) == 1
        assert (version_in_use(folder), after.refusals) == (4, [])
        assert (folder / HIGHEST).read_text() == "4\n"
    assert seen == {(3, False), (4, False), (4, True)}


# --- making one ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a/b.toml": FILES[CUFF]}, "a/b has no capture"),
        ({CUFF: b"title ="}, "is no TOML"),
        ({CUFF: FILES[CUFF].replace(b"captured", b"specification")}, "says specification; its capture"),
        ({CUFF: FILES[CUFF].replace(b"gatt_push", b"magic")}, "magic"),
        ({CAPTURE: FILES[CAPTURE].replace(b"124 mm", b"125 mm")}, "systolic is '124"),
        ({"../up.toml": b""}, "no path of a profile"),
    ],
)  # fmt: skip
def test_what_must_not_be_signed_is_not(change: dict[str, bytes], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        made(files=FILES | change)


def test_the_built_in_profiles_have_a_version(tmp_path: Path) -> None:
    assert built_in_version() >= 1
    for content in (None, "x", "0"):
        if content is not None:
            (tmp_path / "VERSION").write_text(content)
        with pytest.raises(Misconfigured, match="VERSION"):
            built_in_version(tmp_path)


CONFIG = """
site = "ward"
gateway = "gw-1"
state = "{0}/state"
[keys]
gateway = "{0}/gateway.key"
hospital = "{0}/hospital.pub"
[broker]
host = "127.0.0.1"
port = 1883
[profiles]
key = "{0}/publisher.pub"
"""


def test_the_commands_from_key_to_gateway(tmp_path: Path) -> None:
    run, state = CliRunner(), tmp_path / "state"
    state.mkdir()
    (tmp_path / "agent.toml").write_text(CONFIG.format(tmp_path))
    secret, public, file = (str(tmp_path / n) for n in ("publisher.key", "publisher.pub", "x.bundle"))
    assert run.invoke(app, ["bundle", "keys", "--private", secret, "--public", public]).exit_code == 0
    assert (tmp_path / "publisher.key").stat().st_mode & 0o077 == 0
    profiles = tmp_path / "profiles"
    for name, data in FILES.items():
        (profiles / name).parent.mkdir(parents=True, exist_ok=True)
        (profiles / name).write_bytes(data)
    (profiles / "VERSION").write_text("5")
    done = run.invoke(app, ["bundle", "make", "--key", secret, "--to", file, "--profiles", str(profiles)])
    assert json.loads(done.output) == {"bundle": file, "version": 5, "files": len(FILES)}
    done = run.invoke(app, ["bundle", "verify", file, "--key", public])
    assert json.loads(done.output)["profiles"] == {n: p.content_hash for n, p in load_profiles().items()}
    done = run.invoke(app, ["bundle", "install", file, "--config", str(tmp_path / "agent.toml")])
    assert json.loads(done.output)["version"] == 5
    assert (state / "profiles" / INCOMING).read_bytes() == Path(file).read_bytes()
    assert (state / "profiles" / INCOMING).stat().st_mode & 0o777 == 0o644
    missing = run.invoke(app, ["bundle", "verify", str(tmp_path / "none"), "--key", public])
    assert isinstance(missing.exception, Misconfigured)
