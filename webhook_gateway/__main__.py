"""Start the webhook gateway."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

from deployment_service.runtime.extras import extra_required

with extra_required("webhook-gateway", "gateway"):
    from aiohttp import web
    from pydantic import ValidationError

    from deployment_service.runtime.metrics_server import MetricsServer
    from deployment_service.runtime.service_links import SERVICE_LINK
    from deployment_service.runtime.version import version_text
    from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceStub
    from webhook_gateway.app import Gateway
    from webhook_gateway.channel import connect
    from webhook_gateway.config import PREFIX, Settings, describe
    from webhook_gateway.connections import ConnectionLimiter
    from webhook_gateway.logs import configure, log

_HELP = f"""Receives Jenkins' reports about builds, verifies their senders, and forwards them to the
deployment service. Reports go to POST /{{locale}}/{{tenant}}/deployment/webhooks/jenkins?token=…

Settings come from the environment [defaults in brackets]:

{describe()}

It also serves /healthz and /readyz, and metrics at METRICS_LISTEN.
SIGTERM or Ctrl-C stops it gracefully; a second one stops it at once."""


def main() -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="webhook-gateway",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_text("webhook-gateway"))
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "".join(f"{part}".upper() for part in problem["loc"][:1])
            sys.stderr.write(f"webhook-gateway: {PREFIX}{name}: {problem['msg']}\n")
        for name in Settings.ignored():
            sys.stderr.write(f"webhook-gateway: {name} is ignored: {SERVICE_LINK}.\n")
        sys.stderr.write("See webhook-gateway --help.\n")
        sys.exit(2)
    configure(settings.log_level, settings.log_format)
    for name in Settings.ignored():
        log.warning("setting.ignored", setting=name, why=SERVICE_LINK)
    # gRPC writes notes on connections to stderr, unstructured. The gateway logs failed calls itself.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        sys.exit(runner.run(serve(settings)))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(settings: Settings) -> int:
    """Serve until a signal, then stop gracefully; return the exit code."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_loop_error)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    async with connect(settings.service_target, use_proxy=settings.use_proxy) as channel:
        gateway = Gateway(settings, GatewayServiceStub(channel))
        # aiohttp's signal handling and access log stay off: the access log would contain the tokens.
        runner = web.AppRunner(gateway.app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        limiter = ConnectionLimiter(settings)
        metrics = MetricsServer(settings.metrics_listen, gateway.metrics.registry)
        address = settings.metrics_listen
        await gateway.start()
        try:
            metrics.start()
            address = f"{settings.host}:{settings.port}"
            url = await limiter.open(runner.server)
        except OSError as error:
            log.error("listen.failed", address=address, error=error.strerror)
            await gateway.verifiers.close()
            await metrics.stop()
            await runner.cleanup()
            return 1
        log.info("listening", url=url, service=settings.service_target)
        first_check = asyncio.create_task(gateway.readiness.watch_until_ready())
        await stop.wait()
        log.info("stopping")
        first_check.cancel()
        limiter.close()
        dropped = await gateway.finish(settings.stop_timeout)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 3)
        await metrics.stop()
        log.info("stopped", reports_dropped=dropped)
    return 0


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)
    stop.set()


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Log no more of the context: it may describe requests, whose paths may contain tokens.
    error = context.get("exception")
    log.error("loop.error", message=context.get("message"), error=type(error).__name__)


if __name__ == "__main__":
    main()
