"""What a test does to a Jenkins and sees of it behind its API."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import Any

from jenkins_simulator.core.clock import Clock
from jenkins_simulator.core.config import SimulatedUser, SimulatorConfig
from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.faults import Faults
from jenkins_simulator.core.jobxml import JobKind
from jenkins_simulator.core.ledger import Ledger
from jenkins_simulator.core.model import (
    Build,
    Cause,
    Folder,
    Item,
    Job,
    Origin,
    Result,
    add_item,
    encode_segment,
)
from jenkins_simulator.core.parameters import default_values
from jenkins_simulator.core.permissions import Permission


class Backstage:
    """The handles of one controller: users, faults, conditions, jobs and builds, and the ledger."""

    def __init__(self, config: SimulatorConfig, clock: Clock, controller: Controller) -> None:
        self.config = config
        self.clock = clock
        self.controller = controller

    # --- who

    def set_user(self, name: str, user: SimulatedUser) -> None:
        """Add or replace a user, for example with other permissions."""
        self.controller.users[name] = user

    def set_permissions(self, name: str, permissions: frozenset[Permission]) -> None:
        """Change the permissions of a user."""
        user = self.controller.users[name]
        self.controller.users[name] = dataclasses.replace(user, permissions=permissions)

    # --- what happened

    @property
    def ledger(self) -> Ledger:
        """All that really happened."""
        return self.controller.ledger

    @property
    def faults(self) -> Faults:
        """The fault rules in force."""
        return self.controller.faults

    # --- jobs and builds

    def create_job(self, full_name: str, config_xml: str) -> Item:
        """Make a job or folder without HTTP; folders on the way are made too."""
        *above, name = full_name.split("/")
        folder = self.controller.root
        for step in above:
            item = folder.find(step) or add_item(folder, step, f"<{JobKind.FOLDER.value}/>")
            assert isinstance(item, Folder)
            folder = item
        return add_item(folder, name, config_xml)

    def add_branch(self, project: str, branch: str, script: str) -> Job:
        """Make the job of a branch, as a multibranch project does when it finds a Jenkinsfile."""
        folder = self.controller.find(project)
        assert isinstance(folder, Folder)
        xml = f"<{JobKind.PIPELINE.value}><definition><script/></definition></{JobKind.PIPELINE.value}>"
        job = add_item(folder, encode_segment(branch).replace("/", "%2F"), xml)
        assert isinstance(job, Job)
        job.branch = branch
        element = job.xml.find("definition/script")
        assert element is not None
        element.text = script
        job.update(job.xml, job.xml_version)
        return job

    def job(self, full_name: str) -> Job:
        """The job of that full name; raises KeyError."""
        return self.controller.job(full_name)

    def hold(self, full_name: str) -> None:
        """Let every further build of this job wait for `release` instead of running its script."""
        self.controller.hold(full_name)

    def release(
        self, full_name: str, number: int | None = None, result: Result = Result.SUCCESS
    ) -> list[Build]:
        """End a held build, or all running ones of the job, with this result."""
        job = self.controller.job(full_name)
        builds = [b for b in job.builds.values() if b.building and number in (None, b.number)]
        for build in builds:
            self.controller.release(build, result)
        return builds

    def set_conditions(self, **changes: Any) -> None:
        """Change conditions by name, for example `retry_times=1`; see `Conditions`."""
        self.controller.apply_conditions(self.controller.conditions.changed(changes))

    def clear_conditions(self) -> None:
        """Return to the conditions that the configuration sets."""
        self.controller.apply_conditions(self.config.conditions)

    def rebuild(self, full_name: str, number: int, user: str | None = None) -> None:
        """Start a build again with its parameters and causes, or by another user."""
        build = self.controller.job(full_name).builds[number]
        self.controller.start_again(build, Origin.REBUILD, user=user)

    def start_by_timer(self, full_name: str) -> None:
        """Start a build as the timer of its job does."""
        job, controller = self.controller.job(full_name), self.controller
        values = default_values(job.config.parameters, controller.newest_build)
        controller.schedule(job, values, Cause(by_timer=True))

    def discard_build(self, full_name: str, number: int) -> None:
        """Delete the record of a build, running or not, as a clean-up script does."""
        build = self.controller.job(full_name).builds.get(number)
        if build is not None:
            self.controller.discard(build)

    def lose_secrets(self, pattern: str = ".*") -> list[str]:
        """Delete the secret texts whose id matches, without a trace, and return their ids."""
        lost = [one for one in self.controller.credentials if re.fullmatch(pattern, one)]
        for credential_id in lost:
            del self.controller.credentials[credential_id]
        return lost

    def forget_queue_item(self, item_id: int) -> None:
        """Lose a queue item, as a crash does."""
        self.controller.queue.forget(item_id)

    async def wait_for(self, build: Build) -> Result:
        """Wait until a build is over, FINALIZED sent included, and return its result."""
        if build.task is not None:
            await asyncio.shield(build.task)
        assert build.result is not None
        return build.result
