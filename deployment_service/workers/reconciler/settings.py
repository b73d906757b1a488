"""The numbers of the reconciler."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReconcilerSettings:
    """All times are in seconds.

    ``read_interval_s`` is the pause between cycles where webhooks come, ``polling_interval_s`` where none do.
    ``lost_after_s``: how long a run must have been missing before it counts as lost. ``lease_s``: when another replica
    takes over the controllers of one that died; a cycle renews its lease. ``controllers_per_tenant``: how many
    controllers of one tenant are read at once, by all replicas.
    """

    read_interval_s: float = 5.0
    polling_interval_s: float = 2.0
    sweep_s: float = 300.0
    lost_after_s: float = 30.0
    probe_interval_s: float = 10.0
    lease_s: float = 10.0
    longest_cycle_s: float = 60.0
    controllers_at_once: int = 32
    controllers_per_tenant: int = 8
    reads_at_once: int = 4
