"""Actors of events: API keys, accounts and causes in Jenkins, and the service itself. Pure."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from deployment_service.domain.errors import InvalidArgument

MAX_ACTOR_CHARS = 200
"""Maximum length of each text of an actor, in characters."""

# Control characters, and characters that hide or reorder text (Unicode 16, Bidi_Control, Cf). Without them a name
# cannot imitate another name.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class ActorKind(StrEnum):
    """The kind of identity that an actor has."""

    KEY = "KEY"
    OIDC = "OIDC"
    JENKINS = "JENKINS"
    SERVICE = "SERVICE"


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a decision.

    ``subject`` is stable, such as ``apiKeys/<uuid>``. ``display_name`` is the name at the time of the decision.
    ``on_behalf_of`` is an unverified claim of the actor.
    """

    kind: ActorKind
    subject: str
    display_name: str = ""
    on_behalf_of: str = ""


THIS_SERVICE = Actor(ActorKind.SERVICE, "deployment-service", "Deployment service")
"""The actor of changes that the workers make without a caller."""
JENKINS = Actor(ActorKind.JENKINS, "")
"""The actor of changes that builds cause, also builds that a person started."""


def key_actor(key_id: uuid.UUID, display_name: str, on_behalf_of: str = "") -> Actor:
    """Return the actor of an API key."""
    return Actor(ActorKind.KEY, f"apiKeys/{key_id}", display_name, on_behalf_of)


def jenkins_actor(account: str, cause: str) -> Actor:
    """Return the actor that started a build.

    ``account`` is a Jenkins account, or empty. ``cause`` is the text that Jenkins shows for the cause.
    """
    return Actor(ActorKind.JENKINS, clean(account), clean(cause))


def clean(text: str) -> str:
    """Return untrusted text on one line, without characters that hide or reorder it, at most ``MAX_ACTOR_CHARS``."""
    one_line = " ".join(_UNSAFE.sub(" ", text).split())
    return one_line if len(one_line) <= MAX_ACTOR_CHARS else f"{one_line[: MAX_ACTOR_CHARS - 1]}…"


def check_on_behalf_of(text: str, *, field: str) -> str:
    """Return the claim without surrounding whitespace.

    Raises:
        InvalidArgument: the text is too long or has an invisible character.
    """
    stripped = text.strip()
    if len(stripped) > MAX_ACTOR_CHARS:
        raise InvalidArgument(field, f"must have at most {MAX_ACTOR_CHARS} characters")
    found = _UNSAFE.search(stripped)
    if found:
        raise InvalidArgument(
            field, f"has the character U+{ord(found.group()):04X}, which hides or reorders text"
        )
    return stripped
