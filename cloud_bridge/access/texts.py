"""Texts that consents name: read from the site's files, and what is kept of each by the hash of its bytes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wire_format.errors import Misconfigured, Rejected

LANGUAGES: Final = ("en", "zh-Hans")
PLAIN: Final = "text/plain"
UTF8: Final = "text/plain;charset=utf-8"
MOST_CHARACTERS: Final = 200
"""Of the name of a version."""
MOST_BYTES: Final = 1 << 20
"""A text longer than this is a document to point to, not one to read."""
NOT_KEPT: Final = "the text was not kept"


@dataclass(frozen=True, slots=True, order=True)
class Wording:
    """One text that a consent names: language (BCP 47, empty: not said), media type, SHA-256 in hex."""

    language: str
    content_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Text:
    """One text with its bytes."""

    language: str
    content_type: str
    content: bytes

    @property
    def wording(self) -> Wording:
        """Return what a consent keeps of it."""
        return Wording(self.language, self.content_type, digest_of(self.content))


Texts = Mapping[str, tuple[Text, ...]]
"""What can be agreed to: each version in every language, in order."""


def digest_of(content: bytes) -> str:
    """Return what a text is kept under."""
    return hashlib.sha256(content).hexdigest()


def wordings(texts: Iterable[Text]) -> tuple[Wording, ...]:
    """Return what a consent keeps of some texts, in the order in which it is compared."""
    return tuple(sorted(one.wording for one in texts))


def readable(content_type: str, content: bytes) -> str | None:
    """Return a text as it can be shown on a page; None if it is no plain text in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    said = parameters.replace(" ", "").replace('"', "")
    if kind.strip() != PLAIN or said not in {"", "charset=utf-8", "charset=us-ascii"}:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def in_language(found: Iterable[Wording], tag: str) -> Wording | None:
    """Return the text of a reader's language, else the first there is; None if there is none."""
    ordered = sorted(found, key=lambda one: (one.language != tag, one))
    return ordered[0] if ordered else None


def as_kept(named: Iterable[Wording], contents: Mapping[str, bytes], first: str) -> list[Text]:
    """Return texts with their bytes, that of one language first.

    Raises `Rejected` if one is not there as it was kept.
    """
    ordered = sorted(named, key=lambda one: (one.language != first, one))
    for one in ordered:
        if one.digest not in contents:
            raise Rejected(
                f"The text {one.digest} that was agreed to is not as it was kept: the database was changed "
                "from outside. Restore it from a backup."
            )
    return [Text(one.language, one.content_type, contents[one.digest]) for one in ordered]


def there_must_be(texts: Texts, version: str) -> tuple[Text, ...]:
    """Return the texts of a version; raises `Rejected` with what to do if there are none."""
    if version in texts:
        return texts[version]
    names = " and ".join(f"{version}.{one}.txt" for one in LANGUAGES)
    raise Rejected(
        f"There is no text of the version {version!r}, so nobody can show what was agreed to: nothing was "
        f"recorded. Write {names} into the folder of [consent] texts, or name one that there is: "
        f"{', '.join(sorted(texts))}."
    )


def offered(texts: Texts, named: str | None = None) -> str | None:
    """Return which version people are asked to agree to now: the one that is named, or the only one.

    None where there are more and none is named. Raises `Misconfigured` if there is none of that name.
    """
    if named is not None and named not in texts:
        raise Misconfigured(
            f"There is no text of the version {named!r} to offer: name one that there is as offered in "
            f"[consent]: {', '.join(sorted(texts))}."
        )
    (only, *more) = texts
    return named or (None if more else only)


def read_texts(folder: Path | None = None) -> Texts:
    """Return the texts of a folder (VERSION.LANGUAGE.txt), or without one those that come with the package.

    Raises `Misconfigured` for what cannot be read, is empty, is no UTF-8, or lacks a language.
    """
    place: Traversable = files("cloud_bridge.access") / "texts" if folder is None else folder
    found: dict[str, dict[str, Text]] = {}
    try:
        for file in sorted(place.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".txt") and not file.name.startswith("."):
                version, language = _named(file.name)
                found.setdefault(version, {})[language] = _read(file.name, language, file.read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"The texts of consents in {place} cannot be read ({error.strerror}): name their folder as "
            "texts in [consent], or leave that out to use the text that comes with Kiteline."
        ) from error
    if not found:
        raise Misconfigured(
            f"{place} has no text of a consent: write VERSION.en.txt and VERSION.zh-Hans.txt."
        )
    return MappingProxyType({version: _whole(version, texts) for version, texts in found.items()})


def _named(name: str) -> tuple[str, str]:
    version, _, language = name.removesuffix(".txt").rpartition(".")
    named = version.isprintable() and version == version.strip() and 0 < len(version) <= MOST_CHARACTERS
    if not named or language not in LANGUAGES:
        wanted = " or ".join(f"VERSION.{one}.txt" for one in LANGUAGES)
        raise Misconfigured(f"The text of a consent {name!r} has no version and language: name it {wanted}.")
    return version, language


def _read(name: str, language: str, content: bytes) -> Text:
    text = readable(UTF8, content)
    if text is None or not text.strip() or "\0" in text or len(content) > MOST_BYTES:
        raise Misconfigured(
            f"The text of a consent {name} is empty, longer than {MOST_BYTES >> 20} MiB or no UTF-8: write "
            "it as plain text."
        )
    return Text(language, UTF8, content)


def _whole(version: str, texts: Mapping[str, Text]) -> tuple[Text, ...]:
    for one in LANGUAGES:
        if one not in texts:
            raise Misconfigured(
                f"The text {version} of a consent is not there in {one}: write {version}.{one}.txt beside it."
            )
    return tuple(texts[one] for one in LANGUAGES)
