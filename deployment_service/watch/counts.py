"""Counters of one replica's watches, for metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    resets: Counter[str] = field(default_factory=Counter)
    """Number of resets that streams sent, by reason."""
    hints: int = 0
    """Number of notifications received from other replicas."""
