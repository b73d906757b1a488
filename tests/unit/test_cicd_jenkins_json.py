"""Hostile answers are refused before they cost anything."""

import gc
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.jenkins.json import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    AnswerBudget,
    AnswerBudgets,
    AnswerTooLarge,
    decode,
)
from deployment_service.cicd.jenkins.provider import JenkinsProvider

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_an_ordinary_answer_is_decoded(value):
    assert decode(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * MAX_CONTAINERS + b"{}]",
        b"[" + b"[]," * MAX_CONTAINERS + b"[]]",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"[" * 40_000 + b"]" * 40_000,
    ],
    ids=["objects", "lists", "nested lists", "nested objects", "beyond the recursion limit"],
)
def test_structure_beyond_the_bounds_is_refused(body):
    with pytest.raises(AnswerTooLarge):
        decode(body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"1" * 5000, b'{"a":1'])
def test_what_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):
        decode(body)


def test_a_budget_is_spent_by_bytes_and_by_time_and_is_new_each_minute():
    now = 0.0
    budget = AnswerBudget(bytes_per_minute=100, decoding_s_per_minute=1.0, clock=lambda: now)
    budget.spend(99, 0.5)
    assert not budget.exhausted()
    budget.spend(1, 0.0)
    assert budget.exhausted()
    now = 60.0
    assert not budget.exhausted()
    budget.spend(0, 1.0)
    assert budget.exhausted()


def _client(budget: AnswerBudget) -> JenkinsProvider:
    # Nothing listens there: a request that was sent would be refused with another message.
    return JenkinsProvider("http://127.0.0.1:9/", "deployer", "token", answers=budget)


READS = {
    "queue": lambda client: client.list_queue(),
    "executors": lambda client: client.list_running(),
    "build": lambda client: client.read_build("app", 1),
    "builds": lambda client: client.list_builds("app"),
    "job": lambda client: client.read_job("app"),
    "queue item": lambda client: client.read_queue_item("1"),
}


@pytest.mark.parametrize("read", READS)
async def test_what_one_client_of_a_tenant_spent_the_others_have_no_more(read):
    """P6: a tenant with many providers has one budget; the other tenants have theirs."""
    budgets = AnswerBudgets(lambda: AnswerBudget(bytes_per_minute=100))
    one, other = uuid.uuid4(), uuid.uuid4()
    clients = [_client(budgets.of(tenant)) for tenant in (one, one, other)]
    try:
        budgets.of(one).spend(100, 0.0)
        for client, spent in zip(clients, (True, True, False), strict=True):
            with pytest.raises(ProviderUnreachable) as error:
                await READS[read](client)
            assert ("cost more than a tenant may use" in str(error.value)) is spent
    finally:
        for client in clients:
            await client.close()


def test_a_budget_lives_as_long_as_a_client_uses_it():
    budgets = AnswerBudgets()
    tenant = uuid.uuid4()
    used = budgets.of(tenant)
    used.spend(5, 0.0)
    assert budgets.of(tenant) is used
    del used
    gc.collect()
    assert len(budgets._of_tenants) == 0
