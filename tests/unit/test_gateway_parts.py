"""The gateway's parts by themselves: addresses, rates, memory, settings, log lines, the docs' table."""

import io
import ipaddress
import json
import logging
import sys
from pathlib import Path

import pytest
import structlog
from limits import parse
from pydantic import ValidationError

from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway import errors, logs
from webhook_gateway.backlog import HEAVY_SHARE, Backlog, Entry, RefreshRequests
from webhook_gateway.config import PREFIX, Settings, describe
from webhook_gateway.limits import BoundedStorage, RateLimit, client_address
from webhook_gateway.verify import basic_password

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "webhooks.md"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:1234"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:80"], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (None, [], "unknown"),
    ],
)
def test_client_addresses(peer, forwarded, address):
    """P6, P7: the header is believed as far as trusted proxies wrote it."""
    assert client_address(peer, forwarded, TRUSTED) == address


def test_rates():
    """P6: one name's rate isn't another's."""
    rate = RateLimit(parse("3/day"))
    assert [rate.hit("a") for _ in range(4)] == [True, True, True, False]
    assert not rate.allows("a")
    assert rate.hit("b")
    assert 1 <= rate.retry_after("a") <= 86_401


def test_a_window_that_slides(monkeypatch):
    """P6: who is over the ceiling is let in evenly."""
    now = 1_000_000.0
    monkeypatch.setattr("webhook_gateway.limits.time.time", lambda: now)
    rate = RateLimit(parse("100/second"))
    assert sum(rate.hit("a") for _ in range(500)) == 100
    passed = []
    for _ in range(20):
        now += 0.1
        passed.append(sum(rate.hit("a") for _ in range(50)))
    assert sum(passed[:10]) <= 20
    assert sum(passed[10:]) in range(90, 115)
    assert max(passed[10:]) <= 25


def test_counters_are_bounded():
    """P6: an attacker with many addresses fills no memory."""
    storage = BoundedStorage(3)
    for name in "abcd":
        storage.incr(name, 60)
    assert [storage.get(name) for name in "abcd"] == [0, 1, 1, 1]
    assert storage.reset() == 3


def entry(tenant: str = "a", number: int = 1, size: int = 10) -> Entry:
    return Entry(pb.BuildReport(tenant=tenant, build_number=number), size)


def test_tenants_take_turns():
    """P6: one tenant's thousand reports aren't in front of another's one."""
    backlog = Backlog(10_000, 1_000_000)
    for number in range(1000):
        assert backlog.add(entry("a", number))
    assert backlog.add(entry("b"))
    assert backlog.add(entry("c"))
    assert backlog.add(entry("b", 1))
    # Those with little to say go first, in turn, in a call that nobody else's reports make slow.
    assert [one.report.tenant for one in backlog.take(500, 1_000)] == ["b", "c", "b"]
    assert backlog.take(500, 1_000, heavy=False) == []
    assert backlog.take(500, 1_000, without={"a"}) == []
    taken = backlog.take(500, 1_000)
    assert [one.report.build_number for one in taken] == list(range(HEAVY_SHARE))
    assert [one.report.build_number for one in backlog.take(1, 1_000)] == [HEAVY_SHARE]


def test_tenants_with_much_to_say_take_turns():
    """P6: no flood is in front of another."""
    backlog = Backlog(10_000, 1_000_000)
    for number in range(1000):
        assert backlog.add(entry("a", number))
    for number in range(1000):
        assert backlog.add(entry("b", number))
    takes = [backlog.take(500, 10_000) for _ in range(4)]
    assert [{one.report.tenant for one in taken} for taken in takes] == [{"a"}, {"b"}, {"a"}, {"b"}]


def test_the_backlog_is_bounded_until_its_entries_are_answered_for():
    """P4: room is taken from arrival to verdict; bytes and reports both count."""
    backlog = Backlog(4, 100)
    first = [entry("a"), entry("a")]
    assert all(backlog.add(one) for one in first)
    assert not backlog.add(entry("a"))  # half of it is a tenant's most
    assert not backlog.add(entry("b", size=60))
    assert backlog.add(entry("b", size=50))
    taken = backlog.take(10, 1000)
    assert len(taken) == 3
    assert backlog.take(10, 1000) == []
    assert not backlog.add(entry("a"))
    backlog.put_back(taken)
    assert backlog.take(1, 1)[0].report.tenant == "a"
    backlog.release(first[0])
    assert backlog.add(entry("a"))
    assert (backlog.reports, backlog.bytes) == (3, 70)


def test_a_batch_is_bounded_in_bytes():
    """P6: no batch is larger than gRPC takes."""
    backlog = Backlog(100, 10_000)
    for number in range(5):
        backlog.add(entry("a", number, 40))
    assert len(backlog.take(100, 100)) == 2
    assert len(backlog.take(100, 10)) == 1


def test_there_is_one_refresh_request_for_each_job():
    """P6: a job that is refused all the time is read now and then, and again after the last refusal."""
    refresh_requests = RefreshRequests()
    assert refresh_requests.add("a", "j", "first") == 0
    assert refresh_requests.add("a", "j", "second") is None
    assert refresh_requests.add("b", "j", "third") == 0
    assert [
        (request_refresh.tenant, request_refresh.reason)
        for request_refresh in refresh_requests.take()
    ] == [("a", "first"), ("b", "third")]
    delay = refresh_requests.add("a", "j", "fourth")
    assert delay is not None
    assert 0 < delay <= 5
    assert not refresh_requests.has_due()
    refresh_requests.make_all_due()
    assert [request_refresh.reason for request_refresh in refresh_requests.take()] == ["fourth"]
    assert len(refresh_requests) == 0


@pytest.mark.parametrize(
    ("header", "password"),
    [
        (None, None),
        ("", None),
        ("Bearer abc", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic /////w==", None),
        ("Basic dXNlcg==", None),
        ("Basic dXNlcjpwdw==", "pw"),
        ("basic dXNlcjpwOnc=", "p:w"),
    ],
)
def test_basic_passwords(header, password):
    """P7: whatever stands in the header, a password or nothing."""
    assert basic_password(header) == password


def test_settings(monkeypatch):
    """P7: settings have our prefix; what Jenkins sets in its builds has no effect."""
    for name, value in {
        "JENKINS_URL": "http://ci",
        "JENKINS_API_KEY": "theirs",
        "API_KEY": "theirs",
        "PORT": "1",
        f"{PREFIX}API_KEY": "ours",
        f"{PREFIX}TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        f"{PREFIX}FAILED_PROOFS": "5/hour",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.api_key.get_secret_value() == "ours"
    assert "ours" not in repr(settings)
    assert settings.port == 8080
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.failed_proofs.amount == 5
    assert all(f"{PREFIX}{name.upper()}\n" in describe() for name in Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("trusted_proxies", "10.0.0.0/8,nonsense"),
        ("failed_proofs", "often"),
        ("api_key", ""),
        ("call_timeout", "0"),
    ],
)
def test_settings_that_make_no_sense(monkeypatch, name, value):
    """P7: a gateway that is set up wrongly doesn't start."""
    monkeypatch.setenv(f"{PREFIX}API_KEY", "ours")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize("style", ["json", "console"])
def test_log_lines_cant_be_forged(monkeypatch, style):
    """P7: one event, one line, whatever the input holds."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        logs.configure("info", style)
        evil = 'x\r\n{"event": "forged"}\x1b[2J\u2028\x85\u202e\ud800'
        structlog.get_logger().info("event " + evil, status=evil)
        logging.getLogger("library").warning("library %s", evil)
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "\x1b[2J" not in out.getvalue()
    if style == "json":
        first, second = map(json.loads, lines)
        assert first["event"].startswith("event x\ufffd\ufffd{")
        assert second["level"] == "warning"


def test_a_flood_of_lines_is_throttled(monkeypatch):
    """P6: nonsense doesn't fill the disk, and what was left out is counted."""
    throttle = logs.Throttle(2)
    monkeypatch.setattr("webhook_gateway.logs.time.monotonic", lambda: 1.0)
    assert [throttle.allow() for _ in range(4)] == [{}, {}, None, None]
    monkeypatch.setattr("webhook_gateway.logs.time.monotonic", lambda: 2.0)
    assert throttle.allow() == {"suppressed_before": 2}


def test_every_reason_and_verdict_has_an_answer():
    """P1: nothing is answered by chance, and 2xx only for what is durable or has no effect."""
    assert set(errors.ANSWERS) == set(errors.Reason)
    assert set(errors.VERDICTS) == set(pb.ReportVerdict.values())
    durable = {pb.REPORT_VERDICT_APPLIED}
    without_effect = {
        pb.REPORT_VERDICT_DUPLICATE,
        pb.REPORT_VERDICT_STALE,
        pb.REPORT_VERDICT_TESTED,
    }
    assert {verdict for verdict, status in errors.VERDICTS.items() if status == 200} == (
        durable | without_effect
    )


def test_the_docs_hold_the_table():
    """P7: who is refused finds the reason in the docs."""
    assert errors.table() in DOCS.read_text()
