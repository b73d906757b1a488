"""Tests reach nothing but this machine: an address elsewhere refuses, whatever network they run in."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import urllib3.util.connection as connection


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections of the Jenkins client to literal addresses elsewhere.

    Some networks let a proxy answer for every address, so that a test would meet a server where it means none.
    """
    real = connection.create_connection

    def create_connection(address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        if _is_elsewhere(address[0]):
            raise ConnectionRefusedError(f"a test connects to {address[0]}")
        return real(address, *args, **kwargs)

    monkeypatch.setattr(connection, "create_connection", create_connection)


def _is_elsewhere(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
