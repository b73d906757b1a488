"""A simulator set up like the Jenkins that was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jenkins_simulator import (
    READ_ONLY,
    JenkinsSimulator,
    SimulatedUser,
    SimulatorConfig,
)
from tests.conformance.receiver import Receiver


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    """Two executors, a quiet period of 5 s, an administrator and a viewer."""
    users = {
        "admin": SimulatedUser(),
        "viewer": SimulatedUser(password="viewer-pw", api_token=None, permissions=READ_ONLY),
    }
    async with JenkinsSimulator(SimulatorConfig(users=users)) as simulator:
        yield simulator


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of notifications, whose slow answers take longer than a short timeout."""
    receiver = Receiver(slow_s=0.4)
    async with await receiver.serve():
        yield receiver
        await receiver.finish()
