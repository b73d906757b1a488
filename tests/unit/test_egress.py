"""Addresses that a tenant may not send the service or Jenkins to, and the grammar of sources."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.egress import (
    check_git_url,
    check_http_url,
    check_private,
    is_private,
    is_private_host,
    origin_of,
)
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.scm import PipelineScm, check_scm


def refused(call: Callable[[], Any]) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        call()
    return caught.value


def git(url: str, *allowed: str) -> str:
    return check_git_url(url, field="url", allowed_origins=allowed)


@pytest.mark.parametrize(
    ("url", "normal", "origin"),
    [
        ("https://Jenkins.Internal", "https://jenkins.internal/", "https://jenkins.internal"),
        ("https://ci:443/a/b/", "https://ci:443/a/b/", "https://ci"),
        (" http://ci:8080 ", "http://ci:8080/", "http://ci:8080"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]:80/x/", "http://[2001:db8::1]"),
        ("http://ci.", "http://ci./", "http://ci"),
    ],
)
def test_http_urls_that_are_fine(url: str, normal: str, origin: str) -> None:
    assert check_http_url(url, field="f") == normal
    assert origin_of(normal) == origin


@pytest.mark.parametrize(
    "url",
    [
        *("", "ci", "//ci/", "file:///etc/passwd", "ftp://ci/", "ext::sh -c id", "gopher://ci/"),
        *("https://user:password@ci/", "https://user@ci/", "https://@ci/", "https:///x"),
        *("https://ci/?q", "https://ci/#f", "https://ci:99999/", "https://ci:x/", "https://c i/"),
        *("https://ci\\@evil/", "https://ci/../x", "https://-oProxyCommand=id/", "https://ci/\x00"),
        *(
            "https://ci/\u202e",
            "https://c\u200bi/",
            "https://c\ni/",
            "https://ci%00/",
            "javascript:x",
        ),
        "https://ci/" + "x" * 2000,
    ],
)
def test_http_urls_that_arent(url: str) -> None:
    refused(lambda: check_http_url(url, field="f"))


@pytest.mark.parametrize(
    "url",
    [
        "https://git.internal/shop/web.git",
        "http://git.internal:8080/shop/web",
        "ssh://git@git.internal/shop/web.git",
        "ssh://git.internal:2222/~shop/web.git",
        "git@git.internal:shop/web.git",
        "git.internal:shop/web.git",
        "git://git.internal/shop/web.git",
        "https://8.8.8.8/x",
    ],
)
def test_sources_that_are_fine(url: str) -> None:
    assert git(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "web", "/srv/git/web", "./web", "../web", "file:///srv/git/web", "C:\\web"),
        *("ext::sh -c id", "ext::ssh%20-oProxyCommand=id", "fd::17", "foo::https://git/x"),
        *("https://u:p@git/x", "https://token@git/x", "ssh://u:p@git/x", "git://u@git/x"),
        *("--upload-pack=id", "-x", "ssh://-oProxyCommand=id/x", "-oProxyCommand=id:x"),
        *("ssh://-l@git/x", "-l@git:x", "git@git:-x", "ssh://git/-x", "git:../x", "https://git/"),
        *(
            "https://git/a/../../b",
            "https://git/a\tb",
            "https://git/\u202egit",
            "https://gi\u200dt/x",
        ),
        *("ftp://git/x", "rsync://git/x", "s3://git/x", "https://git/" + "x" * 2000),
    ],
)
def test_sources_that_git_would_take_for_something_else(url: str) -> None:
    refused(lambda: git(url))


PRIVATE = [
    *("127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "0", "0.0.0.0"),
    *("10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1"),
    *("localhost", "LOCALHOST.", "a.localhost", "0xa9fea9fe", "255.255.255.255"),
]
PRIVATE6 = [
    *("::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
    *("2002:7f00:1::", "ff02::1", "2001:db8::1"),
]


@pytest.mark.parametrize("host", [*PRIVATE, *PRIVATE6])
def test_hosts_that_no_public_router_knows(host: str) -> None:
    assert is_private_host(host)
    shown = f"[{host}]" if ":" in host else host
    url = check_http_url(f"http://{shown}:8080/", field="f")
    error = refused(lambda: check_private(url, field="f", allowed_origins=()))
    assert error.reason == "ORIGIN_NOT_ALLOWED"
    # The line to add is in the message, and allows it.
    assert f"DEPLOYMENT_SERVICE_ALLOWED_ORIGINS={origin_of(url)} " in error.message
    check_private(url, field="f", allowed_origins=[origin_of(url)])
    # Another port or scheme is another origin.
    for other in (f"http://{shown}:8081/", f"https://{shown}:8080/"):
        refused(lambda u=other: check_private(u, field="f", allowed_origins=[origin_of(url)]))  # type: ignore[misc]


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "2606:4700::1", "jenkins.internal", "0x08080808", "localhost.example", "99x"],
)
def test_hosts_that_may_be_public(host: str) -> None:
    assert not is_private_host(host)


@pytest.mark.parametrize("url", ["git@127.0.0.1:x", "ssh://git@10.0.0.5/x", "http://localhost/x"])
def test_sources_in_private_ranges_need_their_origin_allowed(url: str) -> None:
    assert refused(lambda: git(url)).reason == "ORIGIN_NOT_ALLOWED"
    origin = refused(lambda: git(url)).message.partition("ALLOWED_ORIGINS=")[2].split()[0]
    assert git(url, origin) == url
    assert check_git_url(url, field="f", allowed_origins=None) == url


@given(st.ip_addresses())
def test_an_address_is_private_in_each_of_its_forms(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert is_private_host(str(address)) == is_private(address)
    if isinstance(address, ipaddress.IPv4Address):
        assert is_private_host(str(int(address))) == is_private(address)
        assert is_private_host(hex(int(address))) == is_private(address)
        assert is_private_host(f"::ffff:{address}") == is_private(address)


def scm(**fields: str) -> PipelineScm:
    return check_scm(PipelineScm(**{"url": "https://git.example/x", **fields}), field="scm")


@pytest.mark.parametrize(
    "fields",
    [
        {"branch": "main"},
        {"branch": "refs/heads/feature/login"},
        {"branch": "${VERSION}"},
        {"branch": "ünïcode-1.2"},
        {"script_path": "ci/Jenkinsfile"},
        {"script_path": ".jenkins/deploy it.groovy"},
        {"credentials_id": "git-deploy-key"},
    ],
)
def test_branches_and_paths_that_are_fine(fields: dict[str, str]) -> None:
    checked = scm(**fields)
    assert {name: getattr(checked, name) for name in fields} == fields


@pytest.mark.parametrize(
    "branch",
    [
        *("-x", "a/-x", "a..b", "a b", "a~1", "a^", "a:b", "*/main", "a?", "[a]", "a\\b", "a@{1}"),
        *(
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a\u202eb",
            "a\u200bb",
            "a\tb",
            "x" * 1001,
        ),
    ],
)
def test_branches_that_git_doesnt_have(branch: str) -> None:
    assert refused(lambda: scm(branch=branch)).field == "scm.branch"


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "-x", "a/-x", "a\\b", "a/"),
        *("a\u2066b", "a\ufeff b", "a\nb", "x" * 1001),
    ],
)
def test_script_paths_that_leave_the_repository(path: str) -> None:
    assert refused(lambda: scm(script_path=path)).field == "scm.script_path"


@pytest.mark.parametrize("credentials_id", ["-x", "a\u200bb", "a\nb", "x" * 1001])
def test_credentials_ids_that_arent(credentials_id: str) -> None:
    assert refused(lambda: scm(credentials_id=credentials_id)).field == "scm.credentials_id"
