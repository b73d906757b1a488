"""Bodies: what senders are known to send, and what nobody should."""

import json
import math
import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway import payloads
from webhook_gateway.errors import Reason, RefusedError

JOB = "7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11"
RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"


def guide(**fields):
    return json.dumps({"jobId": JOB, "status": "success", "buildNumber": 7} | fields).encode()


def plugin(drop=(), **build):
    fields = {"number": 7, "phase": "COMPLETED", "status": "SUCCESS"} | build
    for name in drop:
        del fields[name]
    return json.dumps({"name": "j", "url": "job/j/", "build": fields}).encode()


def reason(body: bytes) -> Reason:
    with pytest.raises(RefusedError) as refusal:
        payloads.parse(body)
    assert refusal.value.detail or refusal.value.reason is Reason.EMPTY_BODY
    return refusal.value.reason


@pytest.mark.parametrize("number", [7, "7", "#7", " #7 ", "007"])
def test_numbers_as_senders_write_them(number):
    """P2: one build, however its number is written."""
    assert payloads.parse(guide(buildNumber=number)).build_number == 7
    assert payloads.parse(plugin(number=number)).build_number == 7


@pytest.mark.parametrize(
    "number",
    [None, 0, -1, 7.0, 7.5, True, "", "seven", "7.0", "#", "##7", 2**31, "2147483648", [], {}],
)
def test_numbers_that_are_none(number):
    """P7: no guess at a build's number."""
    assert reason(guide(buildNumber=number)) is Reason.INVALID_FIELD
    assert reason(plugin(number=number)) is Reason.INVALID_FIELD


def test_the_largest_number():
    """P7: the bound itself is inside."""
    assert payloads.parse(guide(buildNumber=2**31 - 1)).build_number == 2**31 - 1


@pytest.mark.parametrize(
    ("timestamp", "ms"),
    [
        (1795478260797, 1795478260797),
        (1795478260, 1795478260000),
        (1795478260.797, 1795478260797),
        ("1795478260797", 1795478260797),
        ("1795478260", 1795478260000),
        ("2026-11-24T09:57:40+0800", 1795485460000),
        ("2026-11-24T01:57:40Z", 1795485460000),
        ("2026-11-24T01:57:40", 1795485460000),
        (None, 0),
        ("", 0),
        ("yesterday", 0),
        ("nan", 0),
        ("inf", 0),
        ("1e999", 0),
        (-1, 0),
        (0, 0),
        (True, 0),
        ([], 0),
        (10**30, 0),
        ("9999-12-31T23:59:59-2300", 0),
    ],
)
def test_timestamps(timestamp, ms):
    """P2: a timestamp is only shown, so no form of it costs a report."""
    assert payloads.parse(guide(timestamp=timestamp)).timestamp_ms == ms
    assert payloads.parse(plugin(timestamp=timestamp)).timestamp_ms == ms


@pytest.mark.parametrize(
    ("status", "passed_on"),
    [
        ("SUCCESS", "SUCCESS"),
        ("success", "success"),
        ("Failed", "Failed"),
        ("INPROGRESS", "INPROGRESS"),
        ("brand new", "brand new"),
        (" success\r\n", "success"),
        (None, ""),
        ("", ""),
        ("a\nb", "a\ufffdb"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\u2028b\u202eb", "a\ufffdb\ufffdb"),
        ("a\x00b", "a\ufffdb"),
        ("\ufffd", "\ufffd"),
        ("x" * 5000, "x" * 200),
        ("ü" * 300, "ü" * 200),
    ],
)
def test_statuses(status, passed_on):
    """P2, P7: passed on as it came, but bounded, and nothing that forges a line or that can't be stored."""
    assert payloads.parse(guide(status=status)).status == passed_on
    assert payloads.parse(plugin(status=status)).status == passed_on


def test_a_status_that_is_absent():
    """P2: as in STARTED, and in a guide's body made from currentBuild.result."""
    body = json.dumps({"jobId": JOB, "buildNumber": 7}).encode()
    assert payloads.parse(body).status == ""
    claim = payloads.parse(plugin(drop=["status"], phase="STARTED"))
    assert (claim.status, claim.phase) == ("", pb.BUILD_PHASE_STARTED)


@pytest.mark.parametrize(
    ("phase", "meaning"),
    [
        ("QUEUED", pb.BUILD_PHASE_QUEUED),
        ("started", pb.BUILD_PHASE_STARTED),
        ("Completed", pb.BUILD_PHASE_COMPLETED),
        ("FINALIZED", pb.BUILD_PHASE_FINALIZED),
        ("FINISHED", pb.BUILD_PHASE_UNSPECIFIED),
        (None, pb.BUILD_PHASE_UNSPECIFIED),
        (7, pb.BUILD_PHASE_UNSPECIFIED),
    ],
)
def test_phases(phase, meaning):
    """P2: old and new versions of the plugin, and senders that imitate it."""
    assert payloads.parse(plugin(phase=phase)).phase == meaning


def test_a_plugins_body_that_says_nothing():
    """P7: neither a known phase nor a status."""
    assert reason(plugin(drop=["status"], phase="FINISHED")) is Reason.INVALID_FIELD


def test_parameters():
    """P3: the run's id is picked out, the others are bounded."""
    many = {f"P{n}": "x" + "y" * 1050 for n in range(110)}
    many["P0"] = "ü" * 600
    claim = payloads.parse(plugin(parameters=many | {"DEPLOYMENT_RUN_ID": RUN.upper()}))
    assert claim.run_id == RUN
    assert claim.parameters_known
    assert list(claim.parameters) == [f"P{n}" for n in range(100)]
    assert all(len(value.encode()) == 1024 for value in claim.parameters.values())


@pytest.mark.parametrize(
    "run_id", ["", "no-uuid", RUN[:-1], RUN + "0", 7, None, [RUN], RUN.replace("-", "")]
)
def test_a_run_id_that_is_none(run_id):
    """P3: only a UUID can be one of ours."""
    claim = payloads.parse(plugin(parameters={"DEPLOYMENT_RUN_ID": run_id}))
    assert (claim.run_id, claim.parameters, claim.parameters_known) == ("", {}, True)


@pytest.mark.parametrize("parameters", [None, [], "text", 7])
def test_parameters_that_arent_listed(parameters):
    """P3: silence about parameters isn't the word that there are none."""
    assert not payloads.parse(plugin(parameters=parameters)).parameters_known
    assert payloads.parse(plugin(parameters={})).parameters_known


def test_parameters_of_other_types():
    """P2: booleans and numbers as the text that Jenkins would make of them; what is none is left out."""
    values: dict[str, object] = {
        "B": True,
        "N": 7,
        "Z": None,
        "L": [1],
        "D": {},
        "": "x",
        "k" * 300: "x",
        "T": "a\nb\x00",
    }
    parameters = payloads.parse(plugin(parameters=values)).parameters
    assert parameters == {"B": "true", "N": "7", "Z": "", "T": "a\nb\ufffd"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Reason.EMPTY_BODY),
        (b" \n", Reason.EMPTY_BODY),
        (b"\xef\xbb\xbf", Reason.EMPTY_BODY),
        (b"[]", Reason.UNKNOWN_BODY),
        (b"null", Reason.UNKNOWN_BODY),
        (b"{}", Reason.UNKNOWN_BODY),
        (b"{", Reason.MALFORMED_BODY),
        (b"{} {}", Reason.MALFORMED_BODY),
        (b"<job/>", Reason.MALFORMED_BODY),
        (b'{"log":"\xff"}', Reason.MALFORMED_BODY),
        (b'{"x":' + b"[" * 10**6 + b"]" * 10**6 + b"}", Reason.MALFORMED_BODY),
        (b'{"build":{"number":1e999}}', Reason.INVALID_FIELD),
        (b'{"build":{"number":' + b"9" * 5000 + b"}}", Reason.INVALID_FIELD),
    ],
)
def test_what_is_no_report(body, expected):
    """P7: each with its own reason."""
    assert reason(body) is expected


def test_a_byte_order_mark_is_read_past():
    """P2: some editors put one into a file that curl sends."""
    assert payloads.parse(b"\xef\xbb\xbf" + guide()).build_number == 7


def test_of_duplicate_keys_the_last_counts():
    """P2: as everywhere in JSON."""
    body = b'{"jobId":"x","buildNumber":7,"buildNumber":8}'
    assert payloads.parse(body).build_number == 8


@pytest.mark.parametrize(
    ("escaped", "meaning"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"a\udc00b", "a\ufffdb"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud800", "\\ud800"),
        (rb"\\\ud800", "\\\ufffd"),
    ],
)
def test_half_a_surrogate_pair_costs_no_report(escaped, meaning):
    """P2: valid JSON from other languages, even in a log that nobody reads."""
    status = b'{"jobId":"x","buildNumber":7,"status":"' + escaped + b'"}'
    assert payloads.parse(status).status == meaning
    log = b'{"build":{"number":7,"phase":"STARTED","log":"' + escaped + b'"}}'
    assert payloads.parse(log).build_number == 7
    big = b'{"build":{"number":7,"phase":"STARTED","log":"' + b"x" * 300_000 + rb'\ud800"}}'
    assert reason(big) is Reason.MALFORMED_BODY


def test_what_isnt_needed_isnt_decoded():
    """P6: eight megabytes of log cost no time worth mentioning, and their content is not looked at."""
    claim = payloads.parse(
        plugin(log="x" * 8_000_000, artifacts={"a": {"b": "c"}}, scm={"changes": [1]})
    )
    assert claim.build_number == 7


MEGABYTES = 8 * 2**20 - 1000
HUGE = {
    "a deep list": b"[" + b"[" * 900 + b"]" * 900 + b',"' + b"x" * 2**17 + b'"]',
    "many lists": b"[" + b"[]," * (MEGABYTES // 3) + b"1]",
    "many objects": b"[" + b'{"a":1},' * (MEGABYTES // 8) + b"1]",
    "a wide object": b"{" + b'"a":{"b":1},' * (MEGABYTES // 12) + b'"c":1}',
    "a long text": b'"' + b"x" * MEGABYTES + b'"',
    "a long number": b"1" * MEGABYTES,
}
FIELDS = {
    **{
        name: b'{"jobId":"x","buildNumber":7,"status":"success","%s":%%b}' % name.encode()
        for name in ("jobId", "buildNumber", "status", "timestamp")
    },
    **{
        f"build.{name}": b'{"build":{"number":7,"phase":"STARTED","%s":%%b}}' % name.encode()
        for name in ("number", "phase", "status", "timestamp", "queue_id", "parameters")
    },
    "url": b'{"build":{"number":7,"phase":"STARTED"},"url":%b}',
    "test": b'{"jobId":"x","buildNumber":7,"test":%b}',
}


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_huge_is_refused_before_it_is_decoded(name, kind):
    """P6: one authentic body of 8 MiB neither stops everybody else for seconds nor takes 200 MB."""
    body = FIELDS[name] % HUGE[kind]
    tracemalloc.start()
    begun = time.process_time()
    try:
        assert reason(body) is Reason.INVALID_FIELD
        assert time.process_time() - begun < 0.5
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [kind for kind in HUGE if not HUGE[kind].startswith(b"{")])
def test_a_build_that_is_no_object_isnt_decoded(kind):
    """P6: the guide's body may hold a `build` of its own, which says nothing."""
    body = b'{"jobId":"x","buildNumber":7,"status":"success","build":%b}' % HUGE[kind]
    tracemalloc.start()
    try:
        assert payloads.parse(body).build_number == 7
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_is_large_but_sensible_is_read():
    """P2: the bounds are far from what anybody sends."""
    parameters = {f"P{n}": "v" * 1000 for n in range(100)}
    claim = payloads.parse(plugin(parameters=parameters, status="x" * 8000))
    assert (claim.parameters, claim.status) == (parameters, "x" * 200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("jobId", "status", "buildNumber", "timestamp", "url"), JSON)
        | {
            "build": st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(
                    ("number", "phase", "status", "timestamp", "queue_id", "parameters", "log"),
                    JSON,
                ),
            )
            | JSON
        },
    )
)
def test_any_json_is_a_storable_claim_or_a_refusal(body):
    """P7: nothing else can come of it, and what comes of it fits into the contract and the database."""
    _storable_or_refused(json.dumps(body).encode())


@given(st.integers(), st.text(st.characters(codec=None)), st.dictionaries(st.text(), JSON), JSON)
def test_any_plausible_report_too(number, status, parameters, timestamp):
    """P7: the same, nearer to what is accepted."""
    body = plugin(number=number, status=status, parameters=parameters, timestamp=timestamp)
    _storable_or_refused(body)


@given(st.binary())
def test_any_bytes_are_a_refusal(body):
    """P7: never an exception of another kind."""
    _storable_or_refused(body)


def _storable_or_refused(body: bytes) -> None:
    claim, refusal = _outcome(body)
    if refusal is not None:
        assert refusal.reason in (
            Reason.EMPTY_BODY,
            Reason.MALFORMED_BODY,
            Reason.UNKNOWN_BODY,
            Reason.INVALID_FIELD,
        )
        assert not re.search(r"[\x00-\x1f]", refusal.detail)
        return
    assert claim is not None
    assert 1 <= claim.build_number < 2**31
    assert len(claim.status) <= 200
    assert len(claim.parameters) <= 100
    assert math.isfinite(claim.timestamp_ms)
    texts = [
        claim.status,
        claim.job_path,
        claim.run_id,
        *claim.parameters,
        *claim.parameters.values(),
    ]
    assert not any("\x00" in text for text in texts)
    pb.BuildReport(  # raises on what isn't UTF-8
        build_number=claim.build_number,
        status=claim.status,
        job_path=claim.job_path,
        run_id=claim.run_id,
        queue_id=claim.queue_id,
        sender_timestamp_ms=claim.timestamp_ms,
        parameters=claim.parameters,
    ).SerializeToString()


def _outcome(body: bytes) -> tuple[payloads.StatusUpdate | None, RefusedError | None]:
    try:
        return payloads.parse(body), None
    except RefusedError as refusal:
        return None, refusal
