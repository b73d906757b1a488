"""Observation problems as messages: in full for operators, without details of the network for tenants."""

from __future__ import annotations

from deployment_service.api.conversions import timestamp
from deployment_service.api.enums import value_of
from deployment_service.domain.problems import ObservationProblem
from deployment_service.v1 import deployment_service_pb2 as pb


def optional_problem(
    problem: ObservationProblem | None, *, in_full: bool
) -> pb.ObservationProblem | None:
    """Return a problem as a message; None, which leaves a field unset, for None."""
    return None if problem is None else problem_message(problem, in_full=in_full)


def problem_message(problem: ObservationProblem, *, in_full: bool) -> pb.ObservationProblem:
    """Return a problem as a message. ``in_full``: with details of the network, for operators."""
    return pb.ObservationProblem(
        since=timestamp(problem.since),
        reason=value_of(
            pb.OBSERVATION_PROBLEM_REASON_UNSPECIFIED, pb.ObservationProblemReason, problem.reason
        ),
        message=problem.shown(in_full=in_full),
    )
