"""Triggers against a Jenkins that speaks HTTP: every row of the reply table. Defends P3."""

import pytest

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.port import TriggerOutcome
from jenkins_simulator import DEFAULT_PASSWORD, READ_ONLY, RequestFault
from tests.integration.cicd_harness import (
    PLAIN,
    RESET,
    WAITING,
    connected,
    our_xml,
    simulated,
    trigger,
)


@pytest.fixture
async def jenkins():
    async with simulated() as simulator:
        yield simulator


@pytest.fixture
async def provider(jenkins):
    async with connected(jenkins) as provider:
        yield provider


class TestTriggering:
    @pytest.fixture(autouse=True)
    def jobs(self, jenkins):
        jenkins.create_job("app", our_xml())
        jenkins.create_job("plain", WAITING)

    async def test_accepted(self, jenkins, provider):
        reply = await trigger(provider, DEPLOYMENT_RUN_ID="r1")
        assert (reply.outcome, reply.http_status) == (TriggerOutcome.ACCEPTED, 201)
        (item,) = jenkins.ledger.items(run_id="r1")
        assert str(item.queue_id) == reply.queue_id

    async def test_folded_into_a_queued_item(self, jenkins, provider):
        jenkins.create_job("slow", our_xml().replace("<quietPeriod>0", "<quietPeriod>3600"))
        first = await trigger(provider, "slow", DEPLOYMENT_RUN_ID="r1")
        again = await trigger(provider, "slow", DEPLOYMENT_RUN_ID="r1")
        assert (again.outcome, again.http_status) == (TriggerOutcome.ACCEPTED, 303)
        assert again.queue_id == first.queue_id
        assert len(jenkins.ledger.items()) == 1

    async def test_a_job_without_parameters(self, provider):
        first = await trigger(provider, "plain", parameterised=False)
        again = await trigger(provider, "plain", parameterised=False)
        assert first.outcome is again.outcome is TriggerOutcome.ACCEPTED
        assert first.queue_id == again.queue_id

    async def test_parameters_are_never_dropped_silently(self, jenkins, provider):
        reply = await trigger(provider, "plain", parameterised=False, A="1")
        assert reply.outcome is TriggerOutcome.REJECTED
        assert jenkins.requests.count("POST", "") == 0

    @pytest.mark.parametrize(
        ("name", "parameterised", "outcome", "status"),
        [
            ("app", False, TriggerOutcome.REJECTED, 400),
            ("plain", True, TriggerOutcome.SERVER_ERROR, 500),
            ("gone", True, TriggerOutcome.REJECTED, 404),
            ("off", True, TriggerOutcome.REJECTED, 409),
            ("off", False, TriggerOutcome.REJECTED, 409),
        ],
    )
    async def test_rejected(self, jenkins, provider, name, parameterised, outcome, status):
        jenkins.create_job("off", our_xml().replace("<disabled>false", "<disabled>true"))
        reply = await trigger(provider, name, parameterised=parameterised)
        assert (reply.outcome, reply.http_status) == (outcome, status)
        assert reply.message
        assert jenkins.ledger.items() == []

    async def test_forbidden(self, jenkins, provider):
        jenkins.set_permissions("admin", READ_ONLY)
        reply = await trigger(provider)
        assert (reply.outcome, reply.http_status) == (TriggerOutcome.PROVIDER_FAULT, 403)
        assert reply.required_permission == "hudson.model.Item.Build"

    async def test_wrong_token(self, jenkins):
        async with connected(jenkins, "wrong") as provider:
            reply = await trigger(provider)
            assert (reply.outcome, reply.http_status) == (TriggerOutcome.PROVIDER_FAULT, 401)

    @pytest.mark.parametrize("do_work", [True, False])
    @pytest.mark.parametrize(
        "fault",
        [{"status": 502}, {"status": 503}, {"status": 504}, RESET, {"login_page": True}],
        ids=str,
    )
    async def test_unclear_whatever_really_happened(self, jenkins, provider, fault, do_work):
        jenkins.faults.add(RequestFault(method="POST", do_work=do_work, **fault))
        reply = await trigger(provider, DEPLOYMENT_RUN_ID="r1")
        assert reply.outcome is TriggerOutcome.UNCLEAR
        assert reply.queue_id is None
        assert jenkins.requests.count("POST", "buildWithParameters") == 1
        assert len(jenkins.ledger.items(run_id="r1")) == do_work

    async def test_unclear_if_the_answer_is_late(self, jenkins, provider):
        jenkins.faults.add(RequestFault(method="POST", delay_after_s=3600, do_work=True))
        reply = await trigger(provider, DEPLOYMENT_RUN_ID="r1", timeout_s=0.3)
        assert (reply.outcome, reply.http_status) == (TriggerOutcome.UNCLEAR, None)
        assert len(jenkins.ledger.items(run_id="r1")) == 1

    async def test_starting_up_is_unclear_and_no_read_says_missing(self, jenkins, provider):
        jenkins.faults.add(RequestFault(status=503))
        assert (await trigger(provider)).outcome is TriggerOutcome.UNCLEAR
        for read in (
            lambda: provider.read_job("gone"),
            lambda: provider.read_build("app", 99),
            lambda: provider.read_queue_item("99"),
            lambda: provider.list_builds("gone"),
            lambda: provider.list_queue(),
            lambda: provider.list_running(),
            lambda: provider.stop_build("app", 99),
            lambda: provider.delete_job("gone"),
            lambda: provider.cancel_queue_item("99"),
            lambda: provider.create_job("gone/x", PLAIN),
            lambda: provider.ping(),
        ):
            with pytest.raises(ProviderUnreachable, match="503"):
                await read()

    async def test_not_sent_while_jenkins_is_down(self, jenkins, provider):
        await provider.ping()
        await jenkins.stop()
        reply = await trigger(provider)
        assert reply.outcome is TriggerOutcome.NOT_SENT
        assert reply.message == "Jenkins can't be reached."
        assert "connection refused" in reply.detail

    async def test_a_large_parameter_goes_through_the_body_and_comes_back_whole(
        self, jenkins, provider
    ):
        jenkins.create_job("big", our_xml(BIG="").replace("<quietPeriod>0", "<quietPeriod>3600"))
        value = "é&=+% \n" * 160_000
        assert len(value.encode()) > 1_000_000
        reply = await trigger(provider, "big", BIG=value, DEPLOYMENT_RUN_ID="r&1")
        assert reply.outcome is TriggerOutcome.ACCEPTED
        with pytest.raises(ProviderUnreachable, match="larger than 1024 KiB"):
            await provider.read_queue_item(reply.queue_id)
        await provider.cancel_queue_item(reply.queue_id)
        value = value[: 32 * 1024]  # as long as a run's may be
        reply = await trigger(provider, "big", BIG=value, DEPLOYMENT_RUN_ID="r&1")
        item = await provider.read_queue_item(reply.queue_id)
        assert item.parameters == {"BIG": value, "DEPLOYMENT_RUN_ID": "r&1"}
        assert all("r%261" not in entry.path for entry in jenkins.requests.entries)

    async def test_a_name_or_text_that_cannot_be_is_rejected_here(self, jenkins, provider):
        for name, value in (("a/../app", "x"), ("app", "\ud800")):
            reply = await trigger(provider, name, V=value)
            assert reply.outcome is TriggerOutcome.REJECTED
        assert jenkins.requests.count("POST", "") == 0


class TestPasswordInsteadOfToken:
    """A password needs a crumb and the session for which it was made; a restart makes both stale."""

    async def test_a_crumb_is_got_and_renewed_after_a_restart(self, jenkins):
        jenkins.create_job("app", our_xml())
        async with connected(jenkins, DEFAULT_PASSWORD, workers=1) as provider:
            for run_id in ("r1", "r2"):
                reply = await trigger(provider, DEPLOYMENT_RUN_ID=run_id)
                assert reply.outcome is TriggerOutcome.ACCEPTED
            assert jenkins.requests.count("GET", "crumbIssuer") == 1
            await jenkins.restart()
            reply = await trigger(provider, DEPLOYMENT_RUN_ID="r3")
            assert reply.outcome is TriggerOutcome.ACCEPTED
            assert jenkins.requests.count("GET", "crumbIssuer") == 2
        for run_id in ("r1", "r2", "r3"):
            assert len(jenkins.ledger.items(run_id=run_id)) == 1

    @pytest.mark.expects_logged_errors
    async def test_a_crumb_that_cannot_be_got_means_nothing_was_sent(self, jenkins):
        jenkins.create_job("app", our_xml())
        jenkins.faults.add(RequestFault(path="crumbIssuer", reset=True))
        async with connected(jenkins, DEFAULT_PASSWORD) as provider:
            assert (await trigger(provider)).outcome is TriggerOutcome.NOT_SENT
        assert jenkins.ledger.items() == []

    @pytest.mark.parametrize("status", [502, 503, 404, 403])
    async def test_or_is_not_given(self, jenkins, status):
        jenkins.create_job("app", our_xml())
        jenkins.faults.add(RequestFault(path="crumbIssuer", status=status))
        async with connected(jenkins, DEFAULT_PASSWORD) as provider:
            assert (await trigger(provider)).outcome is TriggerOutcome.NOT_DONE

    async def test_a_token_never_asks_for_one(self, jenkins, provider):
        jenkins.create_job("app", our_xml())
        await trigger(provider)
        assert jenkins.requests.count("GET", "crumbIssuer") == 0
