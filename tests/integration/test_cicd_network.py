"""The provider against servers that misbehave on the wire. Defends P3: what was sent is never taken for unsent,
and what was given up is never sent; and that no call outlives its deadline."""

import asyncio
import socket
import threading
from contextlib import asynccontextmanager

import pytest

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.cicd.port import TriggerOutcome
from tests.integration.cicd_harness import (
    ANSWER,
    CREATED,
    answering,
    answering_then_closing,
    resetting,
    silence,
    wire,
)


@asynccontextmanager
async def connected(url, **options):
    provider = JenkinsProvider(url, "deployer", "token", **options)
    try:
        yield provider
    finally:
        await provider.close()


async def trigger(provider, timeout_s=10.0):
    return await provider.trigger("app", {"V": "1"}, parameterised=True, timeout_s=timeout_s)


async def dripping(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def dripping_body(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


class TestDeadline:
    @pytest.mark.parametrize("script", [silence, dripping, dripping_body])
    async def test_a_read_ends_and_frees_its_thread(self, script):
        async with (
            wire(script) as server,
            connected(server.url, timeout_s=0.3, workers=1) as provider,
        ):
            for _ in range(2):
                with pytest.raises(ProviderUnreachable, match="no answer in time"):
                    await provider.ping()
                await server.hung_up.wait()
                server.hung_up.clear()
            assert len(server.heads) == 2

    @pytest.mark.parametrize("script", [silence, dripping])
    async def test_a_trigger_is_unclear(self, script):
        async with wire(script) as server, connected(server.url) as provider:
            reply = await trigger(provider, timeout_s=0.3)
            assert reply.outcome is TriggerOutcome.UNCLEAR
            await server.hung_up.wait()
            assert len(server.heads) == 1

    async def test_a_trigger_that_never_got_a_thread_was_not_sent(self):
        async with wire(silence) as server, connected(server.url, workers=1) as provider:
            blocker = asyncio.create_task(provider.ping())
            await server.arrived.wait()
            reply = await trigger(provider, timeout_s=0.1)
            assert reply.outcome is TriggerOutcome.NOT_SENT
            blocker.cancel()
            await server.hung_up.wait()
            server.script = answering(ANSWER)
            await provider.ping()
            assert [r for r in server.requests() if r.startswith("POST")] == []

    async def test_a_trigger_stuck_in_the_resolver_is_never_sent(self, monkeypatch):
        asked, go_on = threading.Event(), threading.Event()
        resolve = socket.getaddrinfo

        def slow(host, *args, **kwargs):
            if host == "jenkins.test":
                asked.set()
                go_on.wait(30)
                host = "127.0.0.1"
            return resolve(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        async with wire(answering(CREATED)) as server:
            url = f"http://jenkins.test:{server.port}"
            async with connected(url, workers=1) as provider:
                reply = await trigger(provider, timeout_s=0.2)
                assert reply.outcome is TriggerOutcome.NOT_SENT
                assert asked.is_set()
                go_on.set()
                reply = await trigger(provider)  # waits for the only thread, so the first is over
                assert reply.outcome is TriggerOutcome.ACCEPTED
                assert len(server.heads) == 1

    async def test_cancelling_the_task_frees_the_thread(self):
        async with wire(silence) as server, connected(server.url, workers=1) as provider:
            task = asyncio.create_task(trigger(provider, timeout_s=3600))
            await server.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.hung_up.wait()
            server.script = answering(ANSWER)
            await provider.ping()

    async def test_closing_ends_the_calls_under_way(self):
        async with wire(silence) as server, connected(server.url, workers=1) as provider:
            calls = [asyncio.create_task(trigger(provider, timeout_s=3600)) for _ in range(3)]
            await server.arrived.wait()
            await provider.close()
            outcomes = sorted([(await call).outcome.name for call in calls])
            assert outcomes == ["NOT_SENT", "NOT_SENT", "UNCLEAR"]
            assert (await trigger(provider)).outcome is TriggerOutcome.NOT_SENT
            with pytest.raises(ProviderUnreachable, match="closed"):
                await provider.ping()


class TestNotSent:
    async def test_connection_refused(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with connected(f"http://127.0.0.1:{unused.getsockname()[1]}") as provider:
                reply = await trigger(provider)
                assert reply.outcome is TriggerOutcome.NOT_SENT
                assert "connection refused" in reply.detail
                with pytest.raises(ProviderUnreachable, match="connection refused"):
                    await provider.read_job("app")

    async def test_unknown_host(self, monkeypatch):
        def unknown(*args, **kwargs):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async with connected("http://jenkins.test") as provider:
            monkeypatch.setattr(socket, "getaddrinfo", unknown)
            reply = await trigger(provider)
            assert reply.outcome is TriggerOutcome.NOT_SENT
            assert "host name can't be resolved" in reply.detail

    async def test_tls_handshake_fails(self):
        async with wire(silence) as server:
            async with connected(f"https://127.0.0.1:{server.port}") as provider:
                server.script = None
                task = asyncio.create_task(trigger(provider, timeout_s=0.3))
                assert (await task).outcome is TriggerOutcome.NOT_SENT

    async def test_tls_is_not_spoken(self):
        async def plain(reader, writer):
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connected(f"https://127.0.0.1:{port}") as provider:
                reply = await trigger(provider)
                assert reply.outcome is TriggerOutcome.NOT_SENT
                assert "TLS" in reply.detail


class TestUnclear:
    @pytest.mark.parametrize(
        "script",
        [
            resetting,
            answering_then_closing(b""),
            answering_then_closing(b"HTTP/1.1 "),
            answering_then_closing(b"SSH-2.0-x\r\n"),
            answering_then_closing(b"HTTP/1.1 302 Found\r\nLocation: http://x/jo"),
        ],
    )
    async def test_a_request_whose_answer_is_lost_or_garbled(self, script):
        async with wire(script) as server, connected(server.url) as provider:
            reply = await trigger(provider)
            assert reply.outcome is TriggerOutcome.UNCLEAR
            assert len(server.heads) == 1

    async def test_a_trigger_never_uses_a_connection_that_was_left_open(self):
        """Jenkins closes those when it likes; a trigger would then be in doubt for nothing."""
        async with wire(answering(ANSWER)) as server, connected(server.url, workers=1) as provider:
            await provider.ping()
            await provider.ping()
            assert server.connections == 1
            server.script = answering(CREATED)
            reply = await trigger(provider)
            assert (reply.outcome, reply.queue_id) == (TriggerOutcome.ACCEPTED, "7")
            assert server.connections == 2
            assert b"Connection: close" in server.heads[-1]

    async def test_nor_the_one_on_which_its_crumb_came(self):
        crumb = b'{"crumb": "c1", "crumbRequestField": "Jenkins-Crumb"}'
        answers = [
            b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 14\r\n\r\nNo valid crumb",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=s1; Path=/\r\nContent-Length: %d\r\n\r\n%s"
            % (len(crumb), crumb),
            CREATED,
        ]

        async def in_turn(reader, writer):
            writer.write(answers.pop(0))
            await writer.drain()

        async with wire(in_turn) as server, connected(server.url, workers=1) as provider:
            assert (await trigger(provider)).outcome is TriggerOutcome.ACCEPTED
            assert server.connections == 3
            assert b"Jenkins-Crumb: c1" in server.heads[2]
            assert b"JSESSIONID=s1" in server.heads[2]

    async def test_no_redirect_is_followed(self):
        for status in (301, 302, 303, 307, 308):
            moved = (
                b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status
            )
            async with wire(answering(moved)) as server, connected(server.url) as provider:
                assert (await trigger(provider)).outcome is TriggerOutcome.UNCLEAR
                with pytest.raises(ProviderUnreachable, match="redirects"):
                    await provider.list_queue()
                assert len(server.heads) == 2


class TestReads:
    async def test_a_connection_that_was_closed_meanwhile_is_replaced(self):
        """Jenkins closes idle connections after 30 s: a poll at that moment must not look like an outage."""

        async def once(reader, writer):
            writer.write(ANSWER)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            raise ConnectionError

        async with wire(once) as server, connected(server.url, workers=1) as provider:
            await provider.ping()
            await provider.ping()
            assert server.connections == 2

    async def test_but_only_once_and_not_a_connection_of_its_own(self):
        async with wire(resetting) as server, connected(server.url, workers=1) as provider:
            with pytest.raises(ProviderUnreachable):
                await provider.ping()
            assert server.connections == 1

    @pytest.mark.parametrize(
        "body",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        ],
    )
    async def test_half_an_answer_is_none(self, body):
        async with wire(answering_then_closing(body)) as server, connected(server.url) as provider:
            with pytest.raises(ProviderUnreachable):
                await provider.list_queue()

    async def test_an_endless_answer_is_cut_off(self):
        async def endless(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b" " * 1_000_000)
                await writer.drain()

        async with wire(endless) as server, connected(server.url) as provider:
            with pytest.raises(ProviderUnreachable, match="larger than 2048 KiB"):
                await provider.list_queue()

    async def test_a_long_page_with_a_trigger_is_not_read(self):
        page = b"HTTP/1.1 409 Conflict\r\nX-Jenkins: 2.440\r\nContent-Length: 99999999999\r\n\r\n<html>"
        async with wire(answering(page)) as server, connected(server.url) as provider:
            assert (await trigger(provider)).outcome is TriggerOutcome.REJECTED


class TestEnvironment:
    async def test_nothing_in_it_chooses_where_or_as_whom_we_go(self, monkeypatch, tmp_path):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "JENKINS_URL"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv("NETRC", str(netrc))
        async with wire(answering(ANSWER)) as server, connected(server.url) as provider:
            assert (await provider.ping()).account == "deployer"
            assert b"Authorization: Basic ZGVwbG95ZXI6dG9rZW4=" in server.heads[0]

    @pytest.mark.parametrize(
        "url", ["", "jenkins", "ftp://x", "http://", "http://u:p@x", "http://x/?q", "http://x/#f"]
    )
    def test_a_base_url_that_cannot_be_one_is_refused(self, url):
        with pytest.raises(ValueError, match="base_url"):
            JenkinsProvider(url, "u", "t")

    async def test_a_context_path_is_kept(self):
        async with wire(answering(ANSWER)) as server, connected(server.url + "/ci/x") as provider:
            await provider.ping()
            await trigger(provider)
            assert server.requests()[0].startswith("GET /ci/x/whoAmI/api/json?")
            assert server.requests()[1] == "POST /ci/x/job/app/buildWithParameters"


@pytest.mark.parametrize(("username", "sent"), [("", False), ("deployer", True)])
async def test_without_an_account_no_authorization_header_is_sent(username, sent):
    """Jenkins answers 401 to an empty account, but serves a request without the header as anonymous."""
    async with wire(answering(ANSWER)) as server:
        provider = JenkinsProvider(server.url, username, "token" if username else "")
        try:
            await provider.ping()
        finally:
            await provider.close()
    assert [b"authorization:" in head.lower() for head in server.heads] == [sent]
