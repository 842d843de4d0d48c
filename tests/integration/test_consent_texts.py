"""The text that a patient agreed to is kept with the consent: shown years later, exchanged, never changed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.access.texts import UTF8, Text, Texts, digest_of, wordings
from cloud_bridge.app import build
from cloud_bridge.config import load
from cloud_bridge.steps import nobody
from cloud_bridge.store import consent_texts, schema
from cloud_bridge.store.access import SqlAccess
from cloud_bridge.store.engine import open_engine
from service_kit.key_files import write_private
from tests.doubles.bridge_desk import AGREED, BridgeDesk
from tests.doubles.bridge_readings import NOW
from tests.doubles.command_line import Done, cloud_bridge
from tests.doubles.edge_readings import bridge_keys
from tests.doubles.page_visitor import visitor
from wire_format.errors import Rejected

ALERTS, GLUCOSE = DataType.ALERTS, DataType.GLUCOSE


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def give(access: SqlAccess, desk: BridgeDesk, data: DataType = ALERTS, version: str = "1") -> UUID:
    return access.give_consent("patient-1", "nurse", data, text_version=version, by="p-1", now=desk.now)


def other(version: str, english: str) -> Texts:
    return AGREED | {version: (Text("en", UTF8, english.encode()), AGREED["1"][1])}


@pytest.mark.usefixtures("each_engine")
def test_a_consent_keeps_its_text_whatever_the_file_says_later(desk: BridgeDesk) -> None:
    give(desk.store.access, desk)
    later = SqlAccess(desk.store.engine, other("1", "Something else"))
    (kept,) = later.consents("patient-1")
    assert kept.texts == wordings(AGREED["1"])
    assert later.contents({one.digest for one in kept.texts}) == {
        digest_of(one.content): one.content for one in AGREED["1"]
    }
    with pytest.raises(Rejected, match=r"version '1' \(en\) is not the one that patients agreed"):
        give(later, desk, GLUCOSE)
    assert [(version, one.language) for version, one, changed in later.versions() if changed] == [("1", "en")]
    assert len(later.consents("patient-1")) == 1
    # A new version is another name; and the old text, put back, is good again.
    give(SqlAccess(desk.store.engine, other("2", "Something else")), desk, GLUCOSE, "2")
    give(desk.store.access, desk)
    assert [one.text_version for one in desk.store.access.consents("patient-1")].count("1") == 2


@pytest.mark.usefixtures("each_engine")
def test_a_version_without_a_text_is_refused(desk: BridgeDesk) -> None:
    with pytest.raises(
        Rejected, match=r"no text of the version '3'.* nothing was recorded\. Write 3\.en\.txt"
    ):
        give(desk.store.access, desk, version="3")
    assert desk.store.access.consents("patient-1") == []


@pytest.mark.usefixtures("each_engine")
def test_a_text_that_was_changed_from_outside_is_never_shown_as_kept(desk: BridgeDesk) -> None:
    give(desk.store.access, desk)
    (digest, _) = (one.digest for one in desk.store.access.consents("patient-1")[0].texts)
    with desk.store.engine.begin() as connection:
        changed = text("UPDATE consent_text SET content = :new WHERE digest = :digest")
        connection.execute(changed, {"new": b"x", "digest": bytes.fromhex(digest)})
    assert desk.store.access.contents([digest]) == {}


@pytest.mark.usefixtures("each_engine")
def test_what_comes_in_with_another_text_is_another_consent(desk: BridgeDesk) -> None:
    access, now = desk.store.access, desk.now
    pdf = Text("de", "application/pdf", b"%PDF")
    give(access, desk)
    one = replace(access.consents("patient-1")[0], consent_id=UUID(int=7), texts=wordings([pdf]))
    bare = replace(one, consent_id=UUID(int=8), texts=())
    done = access.take_consents([(one, False), (bare, False)], now, [pdf])
    assert (done["given"], done["text_not_kept"]) == (2, 1)
    assert access.contents([digest_of(b"%PDF")]) == {digest_of(b"%PDF"): b"%PDF"}
    # Its version is called as one of ours, which stays what it was.
    give(access, desk, GLUCOSE)
    # Without the text it is the same consent; with another one it is not.
    assert access.take_consents([(replace(one, texts=()), False)], now)["known"] == 1
    # A text that comes after the consent is not what was kept with it.
    done = access.take_consents([(replace(bare, texts=one.texts), False)], now, [pdf])
    assert (done["known"], done["text_not_kept"]) == (1, 1)
    letter = Text("de", "application/pdf", b"%PDF-2")
    with pytest.raises(Rejected, match="kept here with other words"):
        access.take_consents([(replace(one, texts=wordings([letter])), False)], now, [letter])
    assert access.contents([digest_of(b"%PDF-2")]) == {}


@pytest.mark.usefixtures("each_engine")
def test_a_text_that_several_name_first_at_one_moment_is_kept_once(desk: BridgeDesk) -> None:
    with ThreadPoolExecutor(1) as threads:
        with desk.store.engine.begin() as first:
            consent_texts.keep(first, AGREED["1"], desk.now)
            second = threads.submit(give, desk.store.access, desk)
            with suppress(TimeoutError):
                second.result(0.5)  # it waits for the first, which is not over
        second.result(10)
    kept = desk.store.access.consents("patient-1")
    assert {one.texts for one in kept} == {wordings(AGREED["1"])}
    with desk.store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM consent_text")).scalar_one() == 2


def test_a_consent_from_before_stays_valid_and_has_no_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bridge.sqlite"
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    old = create_engine(url)
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0014")
        connection.execute(
            text(
                'INSERT INTO consent (id, patient, "to", data, text_version, valid_from, given_by, given_at) '
                "VALUES "
                "('00000000000000000000000000000007', 'p', 'nurse', 'alerts', '1', "
                "'2026-11-01 08:00:00', 'p', '2026-11-01 08:00:00')"
            )
        )
    old.dispose()
    engine = open_engine(url)
    (kept,) = SqlAccess(engine, AGREED).consents("p")
    assert (kept.text_version, kept.texts, kept.holds(NOW)) == ("1", (), True)
    engine.dispose()


class Site:
    """A bridge's folder with texts of its own, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.texts = folder, folder / "texts"
        self.texts.mkdir()
        self.write("ward-1", "I let them read.\n", "我同意。\n")
        write_private(folder / "bridge.key", bridge_keys())
        self.config = folder / "bridge.toml"
        self.config.write_text(
            f'site = "ward"\nstate = "{folder}"\nstaff_language = "zh-Hans"\n'
            f'[keys]\nbridge = "{folder}/bridge.key"\n[broker]\nhost = "127.0.0.1"\nport = 1\n'
            f'[consent]\ntexts = "{self.texts}"\n'
        )

    def write(self, version: str, english: str, chinese: str) -> None:
        (self.texts / f"{version}.en.txt").write_text(english)
        (self.texts / f"{version}.zh-Hans.txt").write_text(chinese)

    def command(self, *words: str) -> Done:
        return cloud_bridge("consent", *words, "--config", str(self.config))

    def give(self, version: str, data: str = "alerts") -> Done:
        return self.command("give", "patient-1", "nurse", data, "--text-version", version, "--by", "p-1")


def test_the_command_line_gives_lists_and_shows_the_text(desk: BridgeDesk, tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.give("ward-1").returncode == 0
    done = site.give("ward-2")
    assert (done.returncode, "Write ward-2.en.txt and ward-2.zh-Hans.txt" in done.stderr) == (1, True)
    site.write("ward-1", "I let everybody read.\n", "我同意。\n")
    done = site.give("ward-1", "glucose")
    assert (done.returncode, "write the new one as a new version" in done.stderr) == (1, True)
    versions = json.loads(site.command("texts").stdout)
    assert [(one["version"], one["language"], one["changed"]) for one in versions] == [
        ("ward-1", "en", True),
        ("ward-1", "zh-Hans", False),
    ]
    # Years later the folder has no such version any more.
    shutil.rmtree(site.texts)
    site.texts.mkdir()
    site.write("ward-9", "Another one", "另一份")
    (shown,) = json.loads(site.command("list", "patient-1").stdout)
    assert (shown["text_version"], shown["text"]) == ("ward-1", "kept")
    english = sha256(b"I let them read.\n").hexdigest()
    assert shown["texts"][0] == {"language": "en", "sha256": english}
    words = [
        sys.executable,
        "-m",
        "cloud_bridge.cli",
        "consent",
        "text",
        english,
        "--config",
        str(site.config),
    ]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"I let them read.\n"
    for digest in ("0" * 64, "x"):
        done = site.command("text", digest)
        assert (done.returncode, "There is no text" in done.stderr) == (1, True)
    assert len(desk.store.access.consents("patient-1")) == 1


def test_it_leaves_in_the_staffs_language_first_and_another_bridge_keeps_it(
    desk: BridgeDesk, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    site.give("ward-1")
    bundle = json.loads(site.command("export", "patient-1").stdout)
    source = bundle["entry"][0]["resource"]["sourceAttachment"]
    assert (source["title"], source["contentType"], source["language"]) == ("ward-1", UTF8, "zh-Hans")
    assert source["size"] == len("我同意。\n".encode())
    (tmp_path / "two").mkdir()
    two, there = BridgeDesk(tmp_path / "two"), Site(tmp_path / "two")
    try:
        (there.folder / "in.json").write_text(json.dumps(bundle))
        done = there.command("import", f"{there.folder}/in.json")
        assert json.loads(done.stdout) == {"given": 1, "withdrawn": 0, "known": 0}
        assert two.store.access.consents("patient-1") == desk.store.access.consents("patient-1")
        assert json.loads(there.command("export", "patient-1").stdout) == bundle
        resource = bundle["entry"][0]["resource"]
        resource["identifier"][0]["value"] = str(UUID(int=9))
        resource["sourceAttachment"], resource["extension"] = {"title": "ward-1"}, []
        (there.folder / "in.json").write_text(json.dumps(resource))
        done = there.command("import", f"{there.folder}/in.json")
        assert json.loads(done.stdout) == {"given": 1, "withdrawn": 0, "known": 0, "text_not_kept": 1}
        listed = json.loads(there.command("list", "patient-1").stdout)
        assert {one["text"] for one in listed} == {"kept", "the text was not kept"}
    finally:
        two.close()


def test_a_bridge_starts_although_a_text_was_changed_and_says_so(desk: BridgeDesk, tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.give("ward-1")
    site.write("ward-1", "I let everybody read.\n", "我同意。\n")
    with capture_logs() as said:
        build(load(site.config), structlog.get_logger(), {}, nobody).store.close()
    assert {"event": "consent_text_changed", "version": "ward-1", "log_level": "error"} in said
    assert desk.store.healthy()


async def test_the_patients_page_shows_the_text_in_the_readers_language(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        one.consent("nurse", ALERTS)
        access, now = one.desk.store.access, one.desk.now
        base = access.consents("patient-1")[0]
        html = Text("", UTF8, b"<script>1</script>"), Text("", "application/pdf", b"%PDF")
        for number, agreed in enumerate([(), html[:1], html[1:]]):
            more = replace(base, consent_id=UUID(int=number), texts=wordings(agreed))
            access.take_consents([(more, False)], now, agreed)
        await one.sign_in("p1")
        page = (await one.http.get("/mine")).text
        assert '<p class="text" lang="en">What is agreed to, version 2026-1</p>' in page
        assert page.count("What was agreed to: text 2026-1") == 2
        assert '<p class="text">&lt;script&gt;1&lt;/script&gt;</p>' in page
        assert page.count("The text was not kept.") == 1
        assert "The text is kept as application/pdf: ask the hospital for it." in page
        page = (await one.http.get("/mine?lang=zh-Hans")).text
        assert '<p class="text" lang="zh-Hans">同意的内容 2026-1</p>' in page
        assert "当时的文本没有保存。" in page
        with one.desk.store.engine.begin() as connection:
            connection.execute(text("UPDATE consent_text SET content = X'78'"))
        page = (await one.http.get("/mine?lang=en")).text
        assert page.count("The text is not as it was kept. Tell the hospital.") == 3
        agreed, _, asked = page.partition("Let somebody read")
        assert ('class="text"' in agreed, 'class="text"' in asked) == (False, True)
