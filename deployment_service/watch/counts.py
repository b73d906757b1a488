"""What watching on one replica has been through, for whoever looks after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    resets: Counter[str] = field(default_factory=Counter)
    """Streams that had to start afresh, by reason."""
    hints: int = 0
    """Notifications of other replicas that were heard."""
