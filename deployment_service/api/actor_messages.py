"""Actors as messages."""

from __future__ import annotations

from typing import cast

from deployment_service.domain.actors import Actor, ActorKind
from deployment_service.v1 import deployment_service_pb2 as pb

# Built when the module is imported, so that a kind that the contract lacks is noticed before the first call.
_KINDS = {one: cast("pb.Actor.Kind", pb.Actor.Kind.Value(f"KIND_{one.value}")) for one in ActorKind}


def actor_message(actor: Actor | None) -> pb.Actor | None:
    """Return an actor as a message; None, which leaves a field unset, for None."""
    if actor is None:
        return None
    return pb.Actor(
        kind=_KINDS.get(actor.kind, pb.Actor.KIND_UNSPECIFIED),
        subject=actor.subject,
        display_name=actor.display_name,
        on_behalf_of=actor.on_behalf_of,
    )
