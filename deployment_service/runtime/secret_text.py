"""Secrets from environment variables and files, which may add line ends, quotes and byte order marks."""

from __future__ import annotations

_BOM = "\ufeff"
_QUOTES = "\"'"


def clean_secret(text: str) -> str:
    """Return ``text`` without surrounding white space, byte order mark and matching quotes.

    Raises ``ValueError``, whose text does not contain the secret, for a character that is not allowed in HTTP headers.
    """
    cleaned = text.strip().strip(_BOM).strip()
    if len(cleaned) > 1 and cleaned[0] in _QUOTES and cleaned[-1] == cleaned[0]:
        cleaned = cleaned[1:-1].strip()
    for position, character in enumerate(cleaned, start=1):
        if not "!" <= character <= "~":
            raise ValueError(
                f"character {position} is U+{ord(character):04X}, which a key never has: "
                "was more than the key copied, or two lines?"
            )
    return cleaned
