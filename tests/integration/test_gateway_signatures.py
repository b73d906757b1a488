"""Signed reports: what a signature proves, and everything that doesn't prove it."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.webhook_auth import signatures
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FakeService,
    Running,
    guide,
    plugin,
    running,
    serving,
)

BODY = json.dumps(guide()).encode()
Headers = dict[str, str]


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service):
    async with running(service, failed_proofs="100000/minute") as gateway:
        yield gateway


def signed(
    gateway: Running,
    body: bytes = BODY,
    *,
    age: int = 0,
    delivery_id: str | None = None,
    secret: bytes | None = None,
) -> Headers:
    """The headers of a report by the job itself, unless something else is said."""
    return signatures.signed_headers(
        secret or gateway.service.tenants["demo"].secret(),
        delivery_id or uuid.uuid4().hex,
        int(time.time()) - age,
        body,
    )


async def send(
    gateway: Running, headers: Headers, body: bytes = BODY, **where: str
) -> tuple[int, dict[str, Any]]:
    return await gateway.post(body, url=gateway.signed_hook(**where), headers=headers)


async def refused(
    gateway: Running, headers: Headers, body: bytes = BODY, **where: str
) -> dict[str, Any]:
    status, answer = await send(gateway, headers, body, **where)
    assert (status, answer["reason"]) == (401, "UNAUTHENTICATED"), answer
    assert gateway.service.reports == []
    assert gateway.service.refresh_requests == []
    return answer


async def test_a_signed_report_is_taken(gateway: Running):
    """P7: and the service is told how it was proven, by which key, and what the delivery is called."""
    headers = signed(gateway)
    assert (await send(gateway, headers))[0] == 200
    (report,) = gateway.service.reports
    assert (report.cicd_job_id, report.proof, report.key_id) == (
        JOB,
        pb.REPORT_PROOF_SIGNATURE,
        "k1",
    )
    assert len(report.delivery_id) == 32


async def test_the_library_itself_signs_what_is_taken(gateway: Running):
    """P7: any sender that follows Standard Webhooks, given the job's secret as text."""
    text = signatures.as_text(gateway.service.tenants["demo"].secret())
    assert text.startswith("whsec_")
    now = time.time()
    signature = Webhook(text).sign("msg_1", datetime.fromtimestamp(now, tz=UTC), BODY.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature,
    }
    assert (await send(gateway, headers))[0] == 200
    ours = signatures.signed_headers(signatures.from_text(text), "msg_1", int(now), BODY)
    assert ours == headers


async def test_the_same_delivery_has_the_same_name_and_another_has_another(gateway: Running):
    """P7: by its name the service knows a replay; the same id with another body isn't one."""
    headers = signed(gateway, delivery_id="a")
    assert (await send(gateway, headers))[0] == 200
    assert (await send(gateway, headers))[0] == 200
    assert (await send(gateway, signed(gateway, delivery_id="a", age=2)))[0] == 200
    assert (await send(gateway, signed(gateway, delivery_id="b")))[0] == 200
    other = json.dumps(guide(status="running")).encode()
    assert (await send(gateway, signed(gateway, other, delivery_id="a"), other))[0] == 200
    names = [report.delivery_id for report in gateway.service.reports]
    assert names[0] == names[1] == names[2]
    assert len({names[0], names[3], names[4]}) == 3


async def test_raw_bytes_are_signed(gateway: Running):
    """P7: not what they mean: escapes, spaces and order stay as they were sent."""
    body = b'{ "buildNumber": 7,\r\n "status":"\\u0073uccess", "jobId":"%s" }' % JOB.encode()
    assert (await send(gateway, signed(gateway, body), body))[0] == 200
    await_body = body.replace(b"\\u0073", b"s")
    gateway.service.calls.clear()
    await refused(gateway, signed(gateway, body), await_body)


async def test_every_altered_byte_of_the_body_is_noticed(gateway: Running):
    """P7: altered body."""
    headers = signed(gateway)
    for place in range(0, len(BODY), 3):
        altered = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        await refused(gateway, headers, altered)
    await refused(gateway, headers, BODY + b" ")
    await refused(gateway, headers, BODY[:-1])
    await refused(gateway, headers, b"")


@pytest.mark.parametrize("seconds", [-299, -1, 1, 60, 299, 3600])
async def test_an_altered_time_is_noticed(gateway: Running, seconds: int):
    """P7: altered time, inside the tolerance as well."""
    headers = signed(gateway)
    headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + seconds)
    await refused(gateway, headers)


async def test_an_altered_id_is_noticed(gateway: Running):
    """P7: a replay can't be given another name."""
    headers = signed(gateway)
    await refused(gateway, headers | {"webhook-id": uuid.uuid4().hex})


@pytest.mark.parametrize("age", [290, -290])
async def test_clocks_may_differ_by_minutes(gateway: Running, age: int):
    """P1: five minutes either way."""
    assert (await send(gateway, signed(gateway, age=age)))[0] == 200


@pytest.mark.parametrize("age", [310, -310, 86_400, -86_400, 1_500_000_000])
async def test_a_valid_signature_out_of_time_only_requests_a_refresh(gateway: Running, age: int):
    """P4, P7: old and future: nothing is stored, but the job is read from Jenkins."""
    status, answer = await send(gateway, signed(gateway, age=age))
    assert (status, answer["reason"]) == (401, "SIGNATURE_OUT_OF_TIME")
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    (request_refresh,) = gateway.service.refresh_requests
    assert (request_refresh.cicd_job_id, request_refresh.reason) == (
        JOB,
        "refused: SIGNATURE_OUT_OF_TIME",
    )
    assert gateway.service.reports == []


@pytest.mark.parametrize("age", [310, -310])
async def test_a_wrong_signature_out_of_time_requests_no_refresh(gateway: Running, age: int):
    """P7: nobody makes us read a Jenkins without a proof."""
    await refused(gateway, signed(gateway, age=age, secret=b"x" * 32))


async def test_wrong_secrets(gateway: Running):
    """P6, P7: another job's, another tenant's, the tenant's key itself, an empty one, any other."""
    tenants = gateway.service.tenants
    demo = tenants["demo"]
    for secret in (
        demo.secret(OTHER_JOB),
        tenants["other"].secret(),
        demo.keys["k1"],
        b"1",
        b"1" * 32,
        signatures.job_secret(demo.uid, JOB.upper(), demo.keys["k1"]),
    ):
        await refused(gateway, signed(gateway, secret=secret))
    assert (await send(gateway, signed(gateway)))[0] == 200


async def test_a_signature_is_for_the_job_that_its_url_names(gateway: Running):
    """P7: a Jenkinsfile can't speak for another job, neither by the URL nor by the body."""
    await refused(gateway, signed(gateway), job=OTHER_JOB)
    await refused(gateway, signed(gateway), tenant="other")
    body = json.dumps(guide(jobId=OTHER_JOB)).encode()
    status, answer = await send(gateway, signed(gateway, body), body)
    assert (status, answer["reason"]) == (400, "WRONG_JOB")
    assert gateway.service.reports == []


async def test_a_new_key_signs_and_a_retired_one_doesnt(gateway: Running):
    """P7: rotated: both while both are valid, and each says which it was."""
    demo = gateway.service.tenants["demo"]
    demo.keys = {"k2": b"2" * 32} | demo.keys
    for key in ("k1", "k2"):
        assert (await send(gateway, signed(gateway, secret=demo.secret(key=key))))[0] == 200
    assert [report.key_id for report in gateway.service.reports] == ["k1", "k2"]
    old = signed(gateway)
    del demo.keys["k1"]
    await gateway.refresh()
    gateway.service.calls.clear()
    await refused(gateway, old)
    assert (await send(gateway, signed(gateway, secret=demo.secret(key="k2"))))[0] == 200


async def test_a_job_that_does_not_sign_cannot(gateway: Running):
    """P7: its secret is not at the gateway; from when somebody asks for it, its signatures are taken."""
    demo = gateway.service.tenants["demo"]
    demo.signing = {OTHER_JOB}
    await gateway.refresh()
    headers = signed(gateway)
    await refused(gateway, headers)
    assert (await gateway.post())[0] == 200
    demo.signing = {JOB, OTHER_JOB}
    assert (await send(gateway, headers))[0] == 200


async def test_one_of_several_signatures_is_enough(gateway: Running):
    """P7: a sender that rotates signs twice; versions that we don't know are skipped."""
    headers = signed(gateway)
    right = headers["webhook-signature"]
    wrong = signed(gateway, secret=b"x" * 32)["webhook-signature"]
    for text in (
        f"{wrong} {right}",
        f"{right} {wrong}",
        f"v1a,abc {right}",
        f"junk {right} v2,x,y",
    ):
        assert (await send(gateway, headers | {"webhook-signature": text}))[0] == 200
    gateway.service.calls.clear()
    await refused(gateway, headers | {"webhook-signature": " ".join([wrong] * 20 + [right])})


def _respelled(signature: str) -> str:
    """Another base64 text of the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = signature[-2]
    return signature[:-2] + alphabet[alphabet.index(last) ^ 1] + "="


@pytest.mark.parametrize(
    "change",
    [
        lambda h: {"webhook-signature": ""},
        lambda h: {"webhook-signature": " "},
        lambda h: {"webhook-signature": ","},
        lambda h: {"webhook-signature": "v1"},
        lambda h: {"webhook-signature": "v1,"},
        lambda h: {"webhook-signature": "v1,a"},
        lambda h: {"webhook-signature": "v1,é"},
        lambda h: {"webhook-signature": "v1,====" * 11},
        lambda h: {"webhook-signature": "v1," + "A" * 43 + "="},
        lambda h: {"webhook-signature": h["webhook-signature"].replace("v1,", "v1,,")},
        lambda h: {"webhook-signature": h["webhook-signature"].replace("v1,", "v2,")},
        lambda h: {"webhook-signature": h["webhook-signature"].replace("v1,", "V1,")},
        lambda h: {"webhook-signature": h["webhook-signature"].rstrip("=")},
        lambda h: {"webhook-signature": h["webhook-signature"] + "="},
        lambda h: {"webhook-signature": _respelled(h["webhook-signature"])},
        lambda h: {"webhook-signature": "v1," + "A" * 4000},
        lambda h: {"webhook-timestamp": ""},
        lambda h: {"webhook-timestamp": h["webhook-timestamp"] + ".73"},
        lambda h: {"webhook-timestamp": h["webhook-timestamp"] + ".0"},
        lambda h: {"webhook-timestamp": "+" + h["webhook-timestamp"]},
        lambda h: {"webhook-timestamp": "0" + h["webhook-timestamp"] + "e0"},
        lambda h: {"webhook-timestamp": h["webhook-timestamp"][:5] + "_" + h["webhook-timestamp"][5:]},
        lambda h: {"webhook-timestamp": "inf"},
        lambda h: {"webhook-timestamp": "nan"},
        lambda h: {"webhook-timestamp": "-1"},
        lambda h: {"webhook-timestamp": "9" * 11},
        lambda h: {"webhook-timestamp": "9" * 400},
        lambda h: {"webhook-timestamp": "١٧٠٠٠٠٠٠٠٠"},
        lambda h: {"webhook-timestamp": "2026-01-01T00:00:00Z"},
        lambda h: {"webhook-id": ""},
        lambda h: {"webhook-id": h["webhook-id"] + ".1"},
        lambda h: {"webhook-id": "x" * 201},
        lambda h: {"webhook-id": "é"},
    ],
)  # fmt: skip
async def test_malformed(gateway: Running, change: Any):
    """P7: whatever isn't well-formed is 401, never an error."""
    headers = signed(gateway)
    await refused(gateway, headers | change(headers))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
async def test_missing(gateway: Running, name: str):
    """P7: all three are needed."""
    headers = signed(gateway)
    del headers[name]
    await refused(gateway, headers)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_given_twice(gateway: Running, name: str):
    """P7: which of the two a proxy or we would read is nobody's game."""
    headers = signed(gateway)
    twice = [*headers.items(), (name, headers[name]), ("Content-Type", "application/json")]
    async with gateway.client.post(gateway.signed_hook(), data=BODY, headers=twice) as answer:
        assert answer.status == 401
    assert gateway.service.reports == []


@pytest.mark.parametrize(
    "job", ["", "x", JOB.upper(), JOB.replace("-", ""), f"{{{JOB}}}", "%00", "%F0%9F%98%80"]
)
async def test_malformed_jobs(gateway: Running, job: str):
    """P7: the one form of a job's id, or none."""
    await refused(gateway, signed(gateway), job=job)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"jobId": "\xff"}', b"\xed\xa0\x80"])
async def test_a_signed_body_that_isnt_text_proves_nothing(gateway: Running, body: bytes):
    """P7: the library signs text only; its complaint is a 401."""
    await refused(gateway, signed(gateway, body), body)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"{", b'{"jobId":1}', b" "])
async def test_signed_invalid_bodies_are_refused_and_request_a_refresh(
    gateway: Running, body: bytes
):
    """P4, P7: verified first, parsed then: a precise refusal for who may know."""
    status, answer = await send(gateway, signed(gateway, body), body)
    assert status == 400
    assert answer["reason"] in ("UNKNOWN_BODY", "MALFORMED_BODY", "INVALID_FIELD", "EMPTY_BODY")
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    assert gateway.service.reports == []


async def test_a_signature_decides_even_beside_a_valid_token(gateway: Running):
    """P7: whoever signs is held to it; a token doesn't mend a body that was altered."""
    status, _ = await gateway.post(BODY + b" ", url=gateway.hook(), headers=signed(gateway))
    assert status == 401
    url = f"{gateway.hook()}&job={JOB}"
    assert (await gateway.post(BODY + b" ", url=url, headers=signed(gateway)))[0] == 401
    assert (await gateway.post(BODY, url=url, headers=signed(gateway)))[0] == 200
    assert gateway.service.reports[0].proof == pb.REPORT_PROOF_SIGNATURE


async def test_wrong_signatures_and_unknown_tenants_look_alike(gateway: Running):
    """P7: nobody finds out which tenants there are, and changes are read equally often."""
    wrong = signed(gateway, secret=b"x" * 32)
    await gateway.refresh()
    reads = len(gateway.service.reads)
    answers = [await refused(gateway, wrong)]
    assert len(gateway.service.reads) == reads + 1
    answers += [
        await refused(gateway, wrong, tenant="nobody"),
        await refused(gateway, wrong | {"webhook-timestamp": "x"}, tenant="nobody"),
        (await gateway.post(url=gateway.hook("nonsense")))[1],
    ]
    assert all(answer == answers[0] for answer in answers)
    assert len(gateway.service.reads) == reads + 2


async def test_wrong_signatures_count_as_failed_proofs_and_right_ones_still_pass(
    service: FakeService,
):
    """P6: who guesses is held off; others behind the same address aren't."""
    async with running(service, failed_proofs="2/day") as gateway:
        wrong = signed(gateway, secret=b"x" * 32)
        statuses = [(await send(gateway, wrong))[0] for _ in range(4)]
        assert statuses == [401, 401, 429, 429]
        assert (await send(gateway, signed(gateway)))[0] == 200


async def test_what_is_unproven_may_not_be_large(gateway: Running):
    """P6: the memory that strangers can take is small."""
    log = json.dumps(plugin(log="x" * 300 * 1024)).encode()
    status, answer = await send(gateway, signed(gateway, log), log)
    assert (status, answer["reason"]) == (413, "BODY_TOO_LARGE")
    log = json.dumps(plugin(log="x" * 200 * 1024)).encode()
    assert (await send(gateway, signed(gateway, log), log))[0] == 200
    assert gateway.gateway._unverified_bodies._used == 0


async def test_a_signed_test_report(gateway: Running):
    """P7: it needs no build, and is marked as one that changes nothing."""
    body = json.dumps({"jobId": JOB, "test": True}).encode()
    assert (await send(gateway, signed(gateway, body), body))[0] == 200
    (report,) = gateway.service.reports
    assert (report.test, report.build_number, report.status) == (True, 0, "")
    for word in ("true", 1, None, False):
        body = json.dumps({"jobId": JOB, "test": word}).encode()
        assert (await send(gateway, signed(gateway, body), body))[0] == 400
