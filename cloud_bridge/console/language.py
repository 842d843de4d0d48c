"""Languages of the pages: English as written in the templates, zh-Hans from its gettext catalogue."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from babel import Locale, negotiate_locale
from babel.dates import format_datetime
from babel.messages.pofile import read_po

LANGUAGES: Final = {"en": "English", "zh-Hans": "简体中文"}
DEFAULT: Final = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """One language with its sentences; `tag` is BCP 47."""

    tag: str
    sentences: Mapping[str, str]

    def say(self, sentence: str, **values: object) -> str:
        """Return a sentence in this language; its own words where nobody translated it."""
        return self.sentences.get(sentence, sentence).format_map(values)

    def moment(self, at: dt.datetime, zone: dt.tzinfo) -> str:
        """Return a moment as people of this language write it, in a zone."""
        pattern = "y年M月d日 HH:mm" if self.tag == "zh-Hans" else "d MMM y, HH:mm"
        return format_datetime(at.astimezone(zone), pattern, locale=Locale.parse(self.tag, sep="-"))


@cache
def language(tag: str) -> Language:
    """Return a language of `LANGUAGES`; the default one for any other tag."""
    if tag not in LANGUAGES or tag == DEFAULT:
        return Language(DEFAULT, {})
    folder = files("cloud_bridge.console") / "locale" / tag.replace("-", "_") / "LC_MESSAGES"
    with (folder / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=tag.replace("-", "_"))
    return Language(tag, {str(m.id): str(m.string) for m in catalogue if m.id and m.string})


def chosen(asked: str | None, accepted: str) -> Language:
    """Return the language asked for, else the best one of an Accept-Language header."""
    if asked in LANGUAGES:
        return language(asked)
    tags = [part.split(";")[0].strip() for part in accepted.split(",") if part.strip()]
    if any(tag.lower().startswith("zh") for tag in tags[:1]):
        return language("zh-Hans")
    return language(negotiate_locale(tags, list(LANGUAGES), sep="-") or DEFAULT)
