"""How watching is dimensioned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The defaults suit a replica with a thousand tenants and a few thousand watchers in about 300 MB."""

    max_silence_s: float = 10.0
    """What ``start`` promises."""
    bookmark_after_s: float = 6.0
    """Silence after which a bookmark goes out: well before max_silence, for clocks and networks are not exact."""
    poll_interval_s: float = 1.0
    read_timeout_s: float = 8.0
    """How long a stream that has nothing true to say waits for the store, all its reads together, before it ends:
    less than max_silence. And how long one read may take."""
    streams_per_tenant: int = 1000
    """Per replica."""
    linger_s: float = 30.0
    """How long a tail outlives its last watcher: those who reconnect find it warm."""

    ring_events: int = 2000
    ring_bytes: int = 4 * 2**20
    rings_total_bytes: int = 128 * 2**20
    """Shared evenly when the rings of all tenants would exceed it."""

    news_limit: int = 2000
    """Most events that one read of what is new returns, over all tenants."""
    history_page: int = 500
    history_cache_bytes: int = 32 * 2**20
    history_readers: int = 3
    """Concurrent reads of history; at most one of them for the same tenant."""
    snapshot_readers: int = 4
    """Concurrent reads of snapshots; at most half of them for the same tenant."""

    finality_interval_s: float = 0.1
    """Least time between two looks at whether what `until` waits for has ended."""

    batch_events: int = 64
    """What a stream takes from ring or history at a time, and so the most that a stuck client keeps in memory."""
    batch_bytes: int = 64 * 1024

    notify_interval_s: float = 0.01
    probe_interval_s: float = 15.0
    probe_timeout_s: float = 5.0
    reconnect_max_s: float = 3.0
