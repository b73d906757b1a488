"""The provider and TLS. Defends P3 and P7: nothing is sent to a server that can't prove its name."""

import ssl
from contextlib import asynccontextmanager

import pytest

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.cicd.port import TriggerOutcome
from tests.integration.cicd_harness import ANSWER, CREATED, answering, silence, wire
from tests.support.certificates import self_signed


@asynccontextmanager
async def connected(url, **options):
    provider = JenkinsProvider(url, "deployer", "token", **options)
    try:
        yield provider
    finally:
        await provider.close()


async def trigger(provider, timeout_s=10.0):
    return await provider.trigger("app", {"V": "1"}, parameterised=True, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    pem, key = self_signed("localhost")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_text(key + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, pem


class TestPrivateCa:
    async def test_it_is_trusted_instead_of_the_public_ones(
        self, certificate, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        context, pem = certificate
        async with wire(answering(ANSWER), context) as server:
            url = f"https://localhost:{server.port}"
            async with connected(url, ca_pem=pem) as provider:
                assert (await provider.ping()).account == "deployer"
                server.script = answering(CREATED)
                assert (await trigger(provider)).outcome is TriggerOutcome.ACCEPTED
                (directory,) = tmp_path.iterdir()
                assert directory.stat().st_mode & 0o777 == 0o700
            assert list(tmp_path.iterdir()) == []

    async def test_a_stuck_tls_exchange_is_ended_too(self, certificate):
        context, pem = certificate
        async with wire(silence, context) as server:
            url = f"https://localhost:{server.port}"
            async with connected(url, ca_pem=pem, workers=1) as provider:
                assert (await trigger(provider, timeout_s=0.3)).outcome is TriggerOutcome.UNCLEAR
                await server.hung_up.wait()
                server.script = answering(ANSWER)
                await provider.ping()

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_without_it_or_under_another_name_nothing_is_sent(self, certificate, host):
        context, pem = certificate
        async with wire(answering(ANSWER), context) as server:
            ca = pem if host == "127.0.0.1" else None
            async with connected(f"https://{host}:{server.port}", ca_pem=ca) as provider:
                reply = await trigger(provider)
                assert reply.outcome is TriggerOutcome.NOT_SENT
                assert "certificate isn't trusted" in reply.detail
                assert "ca_certificate_pem" in reply.detail
                assert server.heads == []

    def test_nonsense_is_refused(self):
        for pem in ("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é"):
            with pytest.raises(ValueError, match="ca_pem"):
                JenkinsProvider("https://x", "u", "t", ca_pem=pem)
