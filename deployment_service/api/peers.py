"""Limits for each client address, for the work before an API key is checked."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from deployment_service.domain.errors import ResourceExhausted

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Settings of the limits. No limit for each address applies to ``trusted_proxies``, which serve many clients."""

    max_calls: int = 2_000
    max_open_calls: int = 50
    max_unproven: int = 200
    unproven_at_once: int = 8
    failed_key_delay_s: float = 0.2
    trusted_proxies: Sequence[Network] = ()


@lru_cache(maxsize=10_000)
def peer_address(peer: str) -> str:
    """Return the address in gRPC's name of a peer; of IPv6 the /64 network, which one client may have whole."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    return network_of(unquote(rest).rpartition(":")[0].strip("[]"))


def network_of(host: str) -> str:
    """Return the unit that one client usually has: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


class PeerLimits:
    """Counts the open calls of each address, and slows down those that bring no valid key."""

    def __init__(self, settings: PeerSettings | None = None) -> None:
        self._settings = settings or PeerSettings()
        self._calls: Counter[str] = Counter()
        self._open_calls: Counter[str] = Counter()
        self._unproven: Counter[str] = Counter()
        self._lookups = asyncio.Semaphore(self._settings.unproven_at_once)

    @contextlib.contextmanager
    def call(self, address: str) -> Iterator[None]:
        """Count one open call. Raises ResourceExhausted if the address has too many."""
        self._check_calls(self._calls, address, self._settings.max_calls)
        with _counted(self._calls, address):
            yield

    @contextlib.contextmanager
    def open_call(self, address: str) -> Iterator[None]:
        """Count one call that needs no key. Raises ResourceExhausted if the address has too many."""
        self._check_calls(self._open_calls, address, self._settings.max_open_calls)
        with _counted(self._open_calls, address):
            yield

    @contextlib.asynccontextmanager
    async def unproven(self, address: str) -> AsyncIterator[None]:
        """Surround the first lookup of a key. Raises ``ResourceExhausted`` if too many of the address are waiting.

        Few lookups run at once: unknown keys must not use up the connections to the database.
        """
        self._check_unproven(address)
        with _counted(self._unproven, address):
            async with self._lookups:
                yield

    async def delay_refusal(self, address: str) -> None:
        """Wait before a call without a valid key is refused, so that guessing is slow."""
        self._check_unproven(address)
        with _counted(self._unproven, address):
            await asyncio.sleep(self._settings.failed_key_delay_s)

    def _check_calls(self, counter: Counter[str], address: str, most: int) -> None:
        if self._is_full(counter, address, most):
            raise ResourceExhausted(
                "TOO_MANY_CALLS",
                f"Your address has {most} calls open, the most it may have. End some, or wait.",
            )

    def _check_unproven(self, address: str) -> None:
        most = self._settings.max_unproven
        if self._is_full(self._unproven, address, most):
            raise ResourceExhausted(
                "TOO_MANY_FAILED_KEYS",
                f"{most} calls from your address, without a key that is known to be valid, wait "
                "for their answer. Correct the keys, or wait.",
            )

    def _is_full(self, counter: Counter[str], address: str, most: int) -> bool:
        return counter[address] >= most and not is_in(address, self._settings.trusted_proxies)


@contextlib.contextmanager
def _counted(counter: Counter[str], address: str) -> Iterator[None]:
    counter[address] += 1
    try:
        yield
    finally:
        counter[address] -= 1
        if not counter[address]:
            del counter[address]


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address (or an IPv6 /64) lies in one of the networks."""
    if not networks:
        return False
    try:
        inner = ipaddress.ip_network(address)
    except ValueError:
        return False
    return any(
        inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
        for outer in networks
    )
