"""Who decided: keys of this service, accounts and causes in Jenkins, the service itself. Pure."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from deployment_service.domain.errors import InvalidArgument

MAX_ACTOR_CHARS = 200
"""Of each text of an actor."""

# Control characters, and what hides or reorders text (Unicode 16, Bidi_Control, Cf): a name must look like itself.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class ActorKind(StrEnum):
    """By what an actor has identified itself."""

    KEY = "KEY"
    OIDC = "OIDC"
    JENKINS = "JENKINS"
    SERVICE = "SERVICE"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decided. ``subject`` is stable: ``apiKeys/<uuid>``; ``display_name`` is what it was called then.

    ``on_behalf_of``: for whom, as the actor claims; nothing proves it.
    """

    kind: ActorKind
    subject: str
    display_name: str = ""
    on_behalf_of: str = ""


THIS_SERVICE = Actor(ActorKind.SERVICE, "deployment-service", "Deployment service")
"""Its workers: what they do and conclude by themselves."""
JENKINS = Actor(ActorKind.JENKINS, "")
"""A controller: what its builds do, also those that a person started."""


def key_actor(key_id: uuid.UUID, display_name: str, on_behalf_of: str = "") -> Actor:
    """Return the holder of an API key."""
    return Actor(ActorKind.KEY, f"apiKeys/{key_id}", display_name, on_behalf_of)


def jenkins_actor(account: str, cause: str) -> Actor:
    """Return what started a build: an account in Jenkins, empty if none did, and the cause in Jenkins' words."""
    return Actor(ActorKind.JENKINS, clean(account), clean(cause))


def clean(text: str) -> str:
    """Return untrusted text on one line, without characters that hide or reorder it, at most ``MAX_ACTOR_CHARS``."""
    one_line = " ".join(_UNSAFE.sub(" ", text).split())
    return one_line if len(one_line) <= MAX_ACTOR_CHARS else f"{one_line[: MAX_ACTOR_CHARS - 1]}…"


def check_on_behalf_of(text: str, *, field: str) -> str:
    """Return the claim without blanks around it. Raises InvalidArgument."""
    stripped = text.strip()
    if len(stripped) > MAX_ACTOR_CHARS:
        raise InvalidArgument(field, f"must have at most {MAX_ACTOR_CHARS} characters")
    found = _UNSAFE.search(stripped)
    if found:
        raise InvalidArgument(
            field, f"has the character U+{ord(found.group()):04X}, which hides or reorders text"
        )
    return stripped
