"""Limits and intervals of watching."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The defaults suit a replica with 1,000 tenants and a few thousand watches, in about 300 MB."""

    max_silence_s: float = 10.0
    """The maximum silence that ``WatchStart`` promises, in seconds."""
    bookmark_after_s: float = 6.0
    """Silence after which a bookmark is sent. Well below max_silence_s, because timers and networks have delays."""
    poll_interval_s: float = 1.0
    read_timeout_s: float = 8.0
    """How long a stream waits for the store without sending, all its reads together, before it ends. Less than
    max_silence_s. Also the timeout of one read."""
    streams_per_tenant: int = 1000
    """Per replica."""
    linger_s: float = 30.0
    """How long a tail is kept after its last stream, for clients that reconnect."""

    ring_events: int = 2000
    ring_bytes: int = 4 * 2**20
    rings_total_bytes: int = 128 * 2**20
    """Total of all rings; divided evenly if they would exceed it."""

    news_limit: int = 2000
    """Maximum number of new events per read, over all tenants."""
    history_page: int = 500
    history_cache_bytes: int = 32 * 2**20
    history_readers: int = 3
    """Concurrent reads of history; at most one of them for the same tenant."""
    snapshot_readers: int = 4
    """Concurrent reads of snapshots; at most half of them for the same tenant."""

    finality_interval_s: float = 0.1
    """Minimum time between two checks of the ends that streams with ``until`` wait for."""

    batch_events: int = 64
    """Events that a stream reads at a time: the maximum that a stuck client holds in memory."""
    batch_bytes: int = 64 * 1024

    notify_interval_s: float = 0.01
    probe_interval_s: float = 15.0
    probe_timeout_s: float = 5.0
    reconnect_max_s: float = 3.0
