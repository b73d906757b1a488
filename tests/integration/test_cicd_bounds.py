"""A hostile or huge answer costs the service little, and how a build stands is known all the same."""

import json
import threading

import pytest
import pytest_asyncio

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.jenkins import provider as jenkins_module
from deployment_service.cicd.jenkins.json import INLINE_BYTES, decode
from deployment_service.domain.problems import ProblemReason
from tests.integration.cicd_harness import (
    answering_then_closing,
    connected,
    our_xml,
    simulated,
    trigger,
    until,
    wire,
)


@pytest_asyncio.fixture
async def jenkins():
    async with simulated() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def provider(jenkins):
    async with connected(jenkins) as connection:
        yield connection


JSON = b"HTTP/1.1 200 OK\r\nX-Jenkins: 2.440\r\nContent-Type: application/json\r\n\r\n"


async def test_a_build_with_a_value_of_megabytes_is_read_without_its_parameters(jenkins, provider):
    jenkins.create_job("big", our_xml(BIG=""))
    await trigger(provider, "big", BIG="x" * 2_000_000, DEPLOYMENT_RUN_ID="r1")
    build = await until(lambda: provider.read_build("big", 1), lambda one: one and one.finished)
    assert build.result == "FAILURE", "Jenkins' shell step cannot take so large a value"
    assert (build.parameters, build.parameters_shown) == ({}, False)


async def test_a_large_answer_is_decoded_on_a_thread(monkeypatch):
    threads = []

    def noting(body):
        threads.append(threading.current_thread())
        return decode(body)

    monkeypatch.setattr(jenkins_module, "decode", noting)
    item = {"id": 1, "task": {"url": "job/j/"}, "why": "x" * 100}
    for count in (1, 1 + INLINE_BYTES // 100):
        body = JSON + json.dumps({"items": [item] * count}).encode()
        async with wire(answering_then_closing(body)) as server, connected(server) as provider:
            assert len((await provider.list_queue()).items) == count
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


@pytest.mark.parametrize(
    "body",
    [
        b'{"items":[' + b"{}," * 60_000 + b"{}]}",
        b'{"items":' * 40 + b"1" + b"}" * 40,
        b'{"items":[{"id":1,"why":"' + b"x" * 3_000_000 + b'"}]}',
    ],
    ids=["objects", "levels", "bytes"],
)
async def test_an_answer_beyond_the_bounds_is_no_answer(body):
    async with (
        wire(answering_then_closing(JSON + body)) as server,
        connected(server) as provider,
    ):
        with pytest.raises(ProviderUnreachable) as caught:
            await provider.list_queue()
        assert caught.value.reason is ProblemReason.MALFORMED_ANSWER


async def test_a_controller_that_spent_its_budget_is_not_read_for_the_rest_of_the_minute(
    jenkins, provider
):
    jenkins.create_job("app", our_xml())
    await provider.read_job("app")
    provider._budget.spend(2**30, 0.0)
    before = jenkins.requests.count("GET", "app")
    with pytest.raises(ProviderUnreachable, match="in a minute"):
        await provider.read_job("app")
    assert jenkins.requests.count("GET", "app") == before
