"""Limits: rates by the library `limits`, memory of bodies, and the client address by which requests are counted."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from limits import RateLimitItem
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.storage.base import TimestampedSlidingWindow
from limits.strategies import SlidingWindowCounterRateLimiter

from webhook_gateway.config import Network
from webhook_gateway.errors import Reason, RefusedError

MAX_COUNTERS = 20_000


class BoundedStorage(Storage, SlidingWindowCounterSupport, TimestampedSlidingWindow):
    """Counters in memory with a bounded size; the least recently used are evicted first.

    The library's own memory storage starts a thread that scans all counters for each hit, and grows with
    the number of addresses, which an attacker chooses.
    """

    STORAGE_SCHEME = None

    def __init__(self, size: int = MAX_COUNTERS) -> None:
        super().__init__()
        self._size = size
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return the exceptions that this storage may raise."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Increment a counter and return its value."""
        count, until = self._read(key)
        self._counters[key] = (count + amount, until if count else time.time() + expiry)
        self._counters.move_to_end(key)
        if len(self._counters) > self._size:
            self._counters.popitem(last=False)
        return count + amount

    def get(self, key: str) -> int:
        """Return the value of a counter."""
        return self._read(key)[0]

    def get_expiry(self, key: str) -> float:
        """Return the time at which a counter expires, in seconds since 1970."""
        return self._read(key)[1]

    def check(self) -> bool:
        """Return whether the storage works: always."""
        return True

    def reset(self) -> int | None:
        """Remove all counters; return their number."""
        count = len(self._counters)
        self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        """Remove one counter."""
        self._counters.pop(key, None)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Increment if the limit permits; return False if it does not."""
        before, share, count, _ = self.get_sliding_window(key, expiry)
        if math.floor(before * share / expiry) + count + amount > limit:
            return False
        _, window = self.sliding_window_keys(key, expiry, time.time())
        self.incr(window, 2 * expiry, amount)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return count and remaining seconds of the previous window, then of the current one."""
        now = time.time()
        before, window = self.sliding_window_keys(key, expiry, now)
        rest = expiry - now % expiry
        return self.get(before), rest, self.get(window), rest + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Remove both windows of a counter."""
        for window in self.sliding_window_keys(key, expiry, time.time()):
            self.clear(window)

    def _read(self, key: str) -> tuple[int, float]:
        count, until = self._counters.get(key, (0, 0.0))
        now = time.time()
        return (count, until) if now < until else (0, now)


class RateLimit:
    """One rate, for any number of names.

    A sliding window: a sender over the rate is admitted evenly, not in a burst at the start of each second.
    """

    def __init__(self, rate: RateLimitItem) -> None:
        self._rate = rate
        self._limiter = SlidingWindowCounterRateLimiter(BoundedStorage())

    def allows(self, name: str) -> bool:
        """Return whether one more is permitted, without counting it."""
        return self._limiter.test(self._rate, name)

    def hit(self, name: str) -> bool:
        """Count one; return False if it exceeds the rate."""
        return self._limiter.hit(self._rate, name)

    def retry_after(self, name: str) -> int:
        """Return the seconds until the next one is permitted."""
        reset = self._limiter.get_window_stats(self._rate, name).reset_time
        return max(1, math.ceil(reset - time.time()))


class FairGate:
    """Admits one request in each iteration of the event loop.

    Requests of tenants over their rate pass here, so that a burst of them, at a fraction of a millisecond each, never
    blocks the event loop for the other tenants.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def wait_turn(self) -> None:
        """Return when the request is admitted."""
        async with self._lock:
            await asyncio.sleep(0)


class BodyMemory:
    """The memory of all bodies in progress. One tenant uses at most a quarter of it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._by_tenant: dict[str, int] = {}

    @contextmanager
    def lease(self, tenant: str) -> Iterator[BodyLease]:
        """Return a lease that grows with a body and is released at the end of the block."""
        lease = BodyLease(self, tenant)
        try:
            yield lease
        finally:
            self._add(tenant, -lease.size)

    def grow(self, lease: BodyLease, size: int) -> None:
        """Reserve ``size`` more bytes. Raises ``RefusedError`` if a limit is exceeded."""
        tenants = self._by_tenant.get(lease.tenant, 0)
        if self._used + size > self._limit or tenants + size > self._limit / 4:
            raise RefusedError(Reason.OVERLOADED, "Too many large bodies at once.", retry_after=2)
        self._add(lease.tenant, size)
        lease.size += size

    def _add(self, tenant: str, size: int) -> None:
        self._used += size
        used = self._by_tenant.get(tenant, 0) + size
        if used:
            self._by_tenant[tenant] = used
        else:
            self._by_tenant.pop(tenant, None)


class BodyLease:
    """The memory of one body."""

    def __init__(self, memory: BodyMemory, tenant: str) -> None:
        self._memory = memory
        self.tenant = tenant
        self.size = 0

    def grow(self, size: int) -> None:
        """Reserve ``size`` more bytes. Raises ``RefusedError`` if a limit is exceeded."""
        self._memory.grow(self, size)


def client_address(
    peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]
) -> str:
    """Return the client address by which limits count.

    X-Forwarded-For is read from its end, as long as the address that added the entry is a trusted proxy.
    """
    address = _address(peer or "")
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while hops and is_trusted(address, trusted):
        hop = _address(hops.pop())
        if hop is None:  # the entries before it are not trustworthy
            break
        address = hop
    if address is None:
        return "unknown"
    if address.version == 6:  # one customer usually has a /64
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_trusted(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, trusted: Sequence[Network]
) -> bool:
    """Return whether an address belongs to a configured proxy."""
    return address is not None and any(
        address.version == network.version and address in network for network in trusted
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_proxy(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Return whether a peer is a configured proxy."""
    return is_trusted(_address(peer or ""), trusted)
