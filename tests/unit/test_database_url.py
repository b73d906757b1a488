"""A database URL that names several hosts."""

from __future__ import annotations

import pytest

from deployment_service.storage.database.url import single_hosts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@a/db", ["postgresql://u:p@a/db"]),
        ("postgresql:///db", ["postgresql:///db"]),
        (
            "postgresql://u:p%40@a:1,b/db?sslmode=require",
            [
                "postgresql://u:p%40@a:1/db?sslmode=require",
                "postgresql://u:p%40@b/db?sslmode=require",
            ],
        ),
        ("postgresql://[::1]:1,[::2]/db", ["postgresql://[::1]:1/db", "postgresql://[::2]/db"]),
        ("postgresql://a,b/db?port=1,2", ["postgresql://a/db?port=1", "postgresql://b/db?port=2"]),
        ("postgresql://a,b/db?port=5", ["postgresql://a/db?port=5", "postgresql://b/db?port=5"]),
        (
            "postgresql:///db?host=/run/one,b&port=1,2",
            ["postgresql:///db?host=/run/one&port=1", "postgresql:///db?host=b&port=2"],
        ),
        (
            "postgresql://a,b/db?sslrootcert=/etc/a%20b.pem",
            [
                "postgresql://a/db?sslrootcert=/etc/a%20b.pem",
                "postgresql://b/db?sslrootcert=/etc/a%20b.pem",
            ],
        ),
    ],
)
def test_each_host_gets_a_url_of_its_own(url: str, expected: list[str]) -> None:
    assert single_hosts(url) == expected


def test_ports_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="number of ports"):
        single_hosts("postgresql://a,b/db?port=1,2,3")
