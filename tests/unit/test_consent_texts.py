"""Texts that consents name: a version in every language, or words about what to write."""

from pathlib import Path

import pytest

from cloud_bridge.access.texts import (
    LANGUAGES,
    MOST_BYTES,
    UTF8,
    Text,
    as_kept,
    in_language,
    offered,
    read_texts,
    readable,
    there_must_be,
    wordings,
)
from cloud_bridge.console.language import LANGUAGES as READERS
from wire_format.errors import Misconfigured, Rejected


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", ".").replace("_", "-")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_the_text_that_comes_along_says_what_is_agreed_in_every_language_of_the_page() -> None:
    (found,) = read_texts().items()
    assert (found[0], [one.language for one in found[1]]) == ("kiteline-1", list(LANGUAGES))
    assert set(LANGUAGES) == set(READERS)
    english, chinese = (readable(one.content_type, one.content) or "" for one in found[1])
    assert all(word in english for word in ("withdraw at any time", "emergency", "on record", "30 days"))
    assert all(word in chinese for word in ("随时撤回", "紧急情况", "记录", "30 天"))
    assert len(english.split("\n\n")) == len(chinese.split("\n\n"))


def test_a_folder_has_versions_in_both_languages_byte_for_byte(tmp_path: Path) -> None:
    chinese = "\ufeff同意\r\n"
    write(tmp_path, a_1__en__txt="I agree", a_1__zh_Hans__txt=chinese, README__md="notes", __b__en__txt="x")
    (tmp_path / "2.0.en.txt").write_text("two")
    (tmp_path / "2.0.zh-Hans.txt").write_text("二")
    found = read_texts(tmp_path)
    assert sorted(found) == ["2.0", "a-1"]
    assert found["a-1"] == (Text("en", UTF8, b"I agree"), Text("zh-Hans", UTF8, chinese.encode()))
    assert readable(UTF8, chinese.encode()) == "同意\r\n"
    assert there_must_be(found, "2.0") == found["2.0"]
    with pytest.raises(
        Rejected, match=r"'3'.*3\.en\.txt and 3\.zh-Hans\.txt .* one that there is: 2\.0, a-1"
    ):
        there_must_be(found, "3")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"has no text of a consent: write VERSION\.en\.txt"),
        ({"a__en__txt": "x"}, r"not there in zh-Hans: write a\.zh-Hans\.txt"),
        ({"a__zh_Hans__txt": "x"}, r"not there in en: write a\.en\.txt"),
        ({"a__fr__txt": "x"}, r"'a\.fr\.txt' has no version and language"),
        ({"en__txt": "x"}, r"'en\.txt' has no version and language"),
        ({"a__en__txt": " \n"}, r"a\.en\.txt is empty"),
        ({"a__en__txt": b"\xff\xfe"}, r"a\.en\.txt is empty, .* no UTF-8"),
        ({"a__en__txt": "a\0"}, r"a\.en\.txt is empty"),
        ({"a__en__txt": "a" * (MOST_BYTES + 1)}, "longer than 1 MiB"),
        ({"a" * 201 + "__en__txt": "x"}, "has no version and language"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        read_texts(write(tmp_path, **files))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"gone cannot be read .* \[consent\]"):
        read_texts(tmp_path / "gone")


def test_only_plain_text_in_utf8_is_shown() -> None:
    for kind in ("text/plain", "Text/Plain; charset=UTF-8", 'text/plain;charset="utf-8"'):
        assert readable(kind, "同意".encode()) == "同意"
    for kind in ("text/html", "application/pdf", "text/plain;charset=gb18030", "text/plainer"):
        assert readable(kind, b"<p>") is None
    assert readable("text/plain", b"\xff") is None


def test_a_reader_gets_their_language_or_another_and_never_other_bytes() -> None:
    both = Text("zh-Hans", UTF8, b"z"), Text("en", UTF8, b"e")
    named = wordings(both)
    assert [one.language for one in named] == ["en", "zh-Hans"]
    found = [in_language(named, tag) for tag in ("en", "zh-Hans", "fr")]
    assert [one and one.language for one in found] == ["en", "zh-Hans", "en"]
    assert in_language((), "en") is None
    contents = {one.wording.digest: one.content for one in both}
    assert as_kept(named, contents, "zh-Hans") == list(both)
    with pytest.raises(Rejected, match="not as it was kept"):
        as_kept(named, {named[0].digest: b"e"}, "en")


def test_which_version_is_offered_is_said_or_plain() -> None:
    one, more = {"a": ()}, {"a": (), "b": ()}
    assert offered(one) == offered(one, "a") == offered(more, "a") == "a"
    assert offered(more) is None  # which of them is for now, nobody said
    with pytest.raises(Misconfigured, match=r"no text of the version 'c' to offer: .* a, b\."):
        offered(more, "c")
