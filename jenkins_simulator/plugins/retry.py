"""A plugin that starts failed builds again, with the same parameters and the same causes."""

from __future__ import annotations

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.model import Build, Origin


def retry(controller: Controller, build: Build) -> None:
    """Start a build again after FINALIZED, as the conditions say."""
    conditions = controller.conditions
    if build.result not in conditions.retry_results or build.job.deleted:
        return
    earlier, retries = build.retry_of, 0
    while earlier is not None:
        earlier, retries = earlier.retry_of, retries + 1
    if retries < conditions.retry_times:
        controller.start_again(build, Origin.RETRY_PLUGIN, after_s=conditions.retry_after_s)
