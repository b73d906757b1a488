"""What the provider's tests share: a simulated Jenkins, and a server that misbehaves to a script."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from deployment_service.cicd.jenkins.job_xml import JobKind, JobSpec, render_job_xml
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, SimulatorConfig
from tests.support.parameters import strings

WHO = b'{"name": "deployer"}'
ANSWER = b"HTTP/1.1 200 OK\r\nX-Jenkins: 2.440\r\nContent-Length: %d\r\n\r\n%s" % (len(WHO), WHO)
CREATED = b"HTTP/1.1 201 Created\r\nLocation: http://x/queue/item/7/\r\nContent-Length: 0\r\n\r\n"

# What stands for a broken connection makes the simulator's web server log an error.
RESET = pytest.param({"reset": True}, marks=pytest.mark.expects_logged_errors, id="reset")

FOLDER = "<com.cloudbees.hudson.plugins.folder.Folder/>"
PLAIN = "<project><builders/></project>"
# With a quiet period, so that items can be found in the queue.
WAITING = "<project><quietPeriod>3600</quietPeriod><builders/></project>"
NAMES = [
    "app",
    "fold/app",
    "fold/with space",
    "größe/日本 🚀",
    "a&b/c;d=e,f+g@h",
    "F/job",
    "view/7",
]


def our_xml(**parameters):
    spec = JobSpec(JobKind.FREESTYLE_SHELL, freestyle_shell="true")
    return render_job_xml(spec, owner="ours", parameters=strings(**parameters), webhook=None)


@asynccontextmanager
async def simulated():
    async with JenkinsSimulator(SimulatorConfig()) as simulator:
        # Builds last until they are released, so that none is still starting when a test ends.
        for name in NAMES:
            simulator.hold(name)
        yield simulator


@asynccontextmanager
async def connected(simulator, secret=DEFAULT_API_TOKEN, **options):
    provider = JenkinsProvider(simulator.url, "admin", secret, **options)
    try:
        yield provider
    finally:
        await provider.close()


async def trigger(provider, name="app", /, *, parameterised=True, timeout_s=10.0, **parameters):
    return await provider.trigger(
        name, parameters, parameterised=parameterised, timeout_s=timeout_s
    )


async def until(read, condition):
    """Read until the answer is as wanted; every reading takes a round trip, the test's timeout ends it."""
    while not condition(value := await read()):
        pass
    return value


async def running(provider, name="app", **parameters):
    """Start a build that stays until it is released; return its queue id."""
    reply = await trigger(provider, name, **parameters)
    await until(
        lambda: provider.read_queue_item(reply.queue_id), lambda item: item.build_number is not None
    )
    return reply.queue_id


class Wire:
    """A server that reads requests and lets a script answer them."""

    def __init__(self, script):
        self.script = script
        self.heads: list[bytes] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.port = 0
        self.url = ""
        self.arrived = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def serve(self, reader, writer):
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line[15:])
                        for line in head.split(b"\r\n")
                        if line.startswith(b"Content-Length:")
                    ),
                    0,
                )
                await reader.readexactly(length)
                self.heads.append(head)
                self.arrived.set()
                await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()

    def requests(self):
        return [head.split(b" HTTP")[0].decode() for head in self.heads]


@asynccontextmanager
async def wire(script, ssl_context=None):
    server_side = Wire(script)
    async with await asyncio.start_server(
        server_side.serve, "127.0.0.1", 0, ssl=ssl_context
    ) as server:
        server_side.port = server.sockets[0].getsockname()[1]
        server_side.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{server_side.port}"
        yield server_side
        server.close()
        await asyncio.gather(*filter(None, server_side.tasks))  # each ends when its client hangs up


async def silence(reader, writer):
    await reader.read()
    raise ConnectionError


def answering(data):
    async def script(reader, writer):
        writer.write(data)
        await writer.drain()

    return script


def answering_then_closing(data):
    async def script(reader, writer):
        writer.write(data)
        await writer.drain()
        raise ConnectionError

    return script


async def resetting(reader, writer):
    writer.transport.abort()
    raise ConnectionError
