"""What is said to the person who pairs, in their language: one table (words.toml), short sentences."""

import tomllib
from enum import StrEnum
from importlib.resources import files
from typing import Final

_SENTENCES: Final[dict[str, dict[str, str]]] = tomllib.loads(
    (files("edge_agent") / "words.toml").read_text(encoding="utf-8")
)


class Language(StrEnum):
    """The languages that people at home read here."""

    EN = "en"
    ZH = "zh-Hans"

    @classmethod
    def of_environment(cls, lang: str) -> "Language":
        """Return the language that `LANG` asks for; English unless it is Chinese."""
        return cls.ZH if lang.lower().startswith("zh") else cls.EN


def say(key: str, language: Language, **facts: object) -> str:
    """Return a sentence. An unknown key raises `KeyError`: it is a mistake of ours."""
    return _SENTENCES[key]["zh" if language is Language.ZH else "en"].format(**facts)
