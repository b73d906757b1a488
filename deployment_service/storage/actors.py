"""Columns that hold an actor: ``<prefix>_kind``, ``_subject``, ``_display_name``, ``_on_behalf_of``."""

from __future__ import annotations

from typing import cast

import asyncpg

from deployment_service.domain.actors import Actor, ActorKind

PARTS = ("kind", "subject", "display_name", "on_behalf_of")


def actor_in(row: asyncpg.Record, prefix: str) -> Actor | None:
    """Return the actor of a row; None if it has none. An unknown kind (of a newer replica) stays a string."""
    kind = row[f"{prefix}_kind"]
    if kind is None:
        return None
    return Actor(
        ActorKind(kind) if kind in ActorKind.__members__ else cast(ActorKind, kind),
        row[f"{prefix}_subject"],
        row[f"{prefix}_display_name"],
        row.get(f"{prefix}_on_behalf_of") or "",
    )


def actor_columns(actor: Actor | None, prefix: str) -> dict[str, str | None]:
    """Return the values of an actor's columns."""
    return {f"{prefix}_{part}": getattr(actor, part, None) for part in PARTS}
