"""How much is too much: rates by the library `limits`, memory, and whose address counts."""

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
    """Counters in memory, the least recently used forgotten first.

    The library's own memory storage starts a thread that walks all counters for each hit, and grows with
    the number of addresses; an attacker chooses that number.
    """

    STORAGE_SCHEME = None

    def __init__(self, size: int = MAX_COUNTERS) -> None:
        super().__init__()
        self._size = size
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """What this storage may raise."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and return the count."""
        count, until = self._read(key)
        self._counters[key] = (count + amount, until if count else time.time() + expiry)
        self._counters.move_to_end(key)
        if len(self._counters) > self._size:
            self._counters.popitem(last=False)
        return count + amount

    def get(self, key: str) -> int:
        """Return the count."""
        return self._read(key)[0]

    def get_expiry(self, key: str) -> float:
        """Return when the count starts again."""
        return self._read(key)[1]

    def check(self) -> bool:
        """Return whether it works."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        count = len(self._counters)
        self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one counter."""
        self._counters.pop(key, None)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count if there is room; False if there isn't."""
        before, share, count, _ = self.get_sliding_window(key, expiry)
        if math.floor(before * share / expiry) + count + amount > limit:
            return False
        _, window = self.sliding_window_keys(key, expiry, time.time())
        self.incr(window, 2 * expiry, amount)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the last window's count and how long it still matters, and this window's."""
        now = time.time()
        before, window = self.sliding_window_keys(key, expiry, now)
        rest = expiry - now % expiry
        return self.get(before), rest, self.get(window), rest + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget both windows."""
        for window in self.sliding_window_keys(key, expiry, time.time()):
            self.clear(window)

    def _read(self, key: str) -> tuple[int, float]:
        count, until = self._counters.get(key, (0, 0.0))
        now = time.time()
        return (count, until) if now < until else (0, now)


class RateLimit:
    """One rate, for any number of names.

    A sliding window: whoever sends too much is let in evenly, not with all of it at the start of each second.
    """

    def __init__(self, rate: RateLimitItem) -> None:
        self._rate = rate
        self._limiter = SlidingWindowCounterRateLimiter(BoundedStorage())

    def allows(self, name: str) -> bool:
        """Return whether there is room for one more, without counting."""
        return self._limiter.test(self._rate, name)

    def hit(self, name: str) -> bool:
        """Count one; False if it was one too many."""
        return self._limiter.hit(self._rate, name)

    def retry_after(self, name: str) -> int:
        """Return in how many seconds there is room again."""
        reset = self._limiter.get_window_stats(self._rate, name).reset_time
        return max(1, math.ceil(reset - time.time()))


class FairGate:
    """Lets one through in each turn of the event loop.

    Those whose tenant sends too much are served one by one, so that a burst of theirs, which costs a
    fraction of a millisecond each, is never done in one go before everybody else's turn.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def stand_in_line(self) -> None:
        """Return when it is one's turn."""
        async with self._turn:
            await asyncio.sleep(0)


class BodyMemory:
    """The bodies that are being read, together. One tenant gets a quarter of the room at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._by_tenant: dict[str, int] = {}

    @contextmanager
    def lease(self, tenant: str) -> Iterator[BodyLease]:
        """Return room that grows with a body and is free again afterwards."""
        lease = BodyLease(self, tenant)
        try:
            yield lease
        finally:
            self._add(tenant, -lease.size)

    def grow(self, lease: BodyLease, size: int) -> None:
        """Take room for more of a body, or raise RefusedError."""
        tenants = self._by_tenant.get(lease.tenant, 0)
        if self._used + size > self._limit or tenants + size > self._limit / 4:
            raise RefusedError(Reason.OVERLOADED, "Too many large bodies at once.", retry_after=2)
        self._add(lease.tenant, size)
        lease.size += size

    def _add(self, tenant: str, size: int) -> None:
        self._used += size
        left = self._by_tenant.get(tenant, 0) + size
        if left:
            self._by_tenant[tenant] = left
        else:
            self._by_tenant.pop(tenant, None)


class BodyLease:
    """The room that one body takes."""

    def __init__(self, memory: BodyMemory, tenant: str) -> None:
        self._memory = memory
        self.tenant = tenant
        self.size = 0

    def grow(self, size: int) -> None:
        """Take room for more, or raise RefusedError."""
        self._memory.grow(self, size)


def client_address(
    peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]
) -> str:
    """Return the address that limits count by.

    X-Forwarded-For is read from its end, as long as the one who wrote it is a trusted proxy.
    """
    address = _address(peer or "")
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while hops and is_trusted(address, trusted):
        hop = _address(hops.pop())
        if hop is None:  # what stands before it may be anyone's invention
            break
        address = hop
    if address is None:
        return "unknown"
    if address.version == 6:  # whoever has one IPv6 address has 2^64 of them
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
