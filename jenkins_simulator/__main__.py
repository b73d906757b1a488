"""Run a simulated Jenkins as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal

from jenkins_simulator.core.conditions import Conditions
from jenkins_simulator.core.config import (
    DEFAULT_API_TOKEN,
    DEFAULT_PASSWORD,
    DEFAULT_PLUGINS,
    SimulatedUser,
    SimulatorConfig,
)
from jenkins_simulator.simulator import JenkinsSimulator


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m jenkins_simulator",
        description=__doc__,
        epilog="Tests drive it at /_simulator/ (ledger, requests, faults, conditions, hold, release, restart).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    add("--user", default="admin", help="the only user, with all permissions")
    add("--password", default=DEFAULT_PASSWORD, help="password of that user (needs crumbs)")
    add("--token", default=DEFAULT_API_TOKEN, help="API token of that user")
    add("--quiet-period", type=float, default=5.0, help="seconds that a new queue item waits")
    add("--executors", type=int, default=2, help="number of executors")
    add("--notification-plugin", default="1.19", help='version of the plugin, or "none"')
    add("--start-up", type=float, default=0.0, help="seconds that each restart takes")
    add(
        "--finalize-delay", type=float, default=0.01, help="seconds between COMPLETED and FINALIZED"
    )
    add(
        "--leave-queue",
        type=float,
        default=0.0,
        help="seconds without an executable after the queue",
    )
    add("--queue-round", type=float, default=0.0, help="seconds between rounds of the queue")
    add("--first-build", type=float, default=0.0, help="shortest first build of a job, in seconds")
    add("--bare", action="store_true", help="without the plugins that only add actions to builds")
    add(
        "--conditions",
        type=json.loads,
        default={},
        help="JSON, as POST /_simulator/conditions takes",
    )
    add("--fault-seed", type=int, default=0, help="seed of the faults' probabilities")
    return parser.parse_args()


def _config(arguments: argparse.Namespace) -> SimulatorConfig:
    plugin = arguments.notification_plugin
    return SimulatorConfig(
        host=arguments.host,
        port=arguments.port,
        quiet_period_s=arguments.quiet_period,
        executors=arguments.executors,
        notification_plugin=None if plugin == "none" else plugin,
        users={arguments.user: SimulatedUser(arguments.password, arguments.token)},
        start_up_s=arguments.start_up,
        finalize_delay_s=arguments.finalize_delay,
        leave_queue_s=arguments.leave_queue,
        queue_round_s=arguments.queue_round,
        first_build_s=arguments.first_build,
        plugins=frozenset() if arguments.bare else DEFAULT_PLUGINS,
        conditions=Conditions().changed(arguments.conditions),
        fault_seed=arguments.fault_seed,
    )


async def _run(arguments: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with JenkinsSimulator(_config(arguments)) as jenkins:
        print(f"url={jenkins.url} user={arguments.user} token={arguments.token}", flush=True)
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
