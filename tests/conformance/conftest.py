"""A simulator set up like the Jenkins that was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deployment_service.dev.jenkins import (
    READ_ONLY,
    JenkinsSimulator,
    SimulatedUser,
    SimulatorConfig,
)


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    """Two executors, a quiet period of 5 s, an administrator and a viewer."""
    users = {
        "admin": SimulatedUser(),
        "viewer": SimulatedUser(password="viewer-pw", api_token=None, permissions=READ_ONLY),
    }
    async with JenkinsSimulator(SimulatorConfig(users=users)) as simulator:
        yield simulator
