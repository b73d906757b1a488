"""What interrupts a script: a stop, a rejection, a timeout."""

from __future__ import annotations

from jenkins_simulator.core.model import Interruption
from jenkins_simulator.pipeline.interpreter import ScriptFailure

INTERRUPTED = "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException"


class Interrupted(ScriptFailure):
    """The build was stopped or rejected, or a `timeout` ran out.

    `why` is what the build then bears; a build that was stopped bears it already.
    """

    def __init__(self, message: str, why: Interruption | None = None) -> None:
        super().__init__(message)
        self.why = why
