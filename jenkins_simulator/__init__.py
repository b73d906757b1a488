"""A simulated Jenkins with a real HTTP interface, for development and tests: see docs/reference/simulator.md."""

from jenkins_simulator.core.clock import Clock
from jenkins_simulator.core.conditions import Conditions, SeedJob
from jenkins_simulator.core.config import (
    DEFAULT_API_TOKEN,
    DEFAULT_PASSWORD,
    SimulatedUser,
    SimulatorConfig,
)
from jenkins_simulator.core.endpoints import ENDPOINTS
from jenkins_simulator.core.faults import Faults, NotificationFault, RequestFault
from jenkins_simulator.core.ledger import Ledger, LedgerBuild, LedgerItem
from jenkins_simulator.core.model import Build, Cause, Job, Result
from jenkins_simulator.core.parameters import ParameterKind, ParameterValue
from jenkins_simulator.core.permissions import ALL_PERMISSIONS, READ_ONLY, Permission
from jenkins_simulator.http.requests_log import LoggedRequest, RequestLog
from jenkins_simulator.simulator import JenkinsSimulator

__all__ = [
    "ALL_PERMISSIONS",
    "DEFAULT_API_TOKEN",
    "DEFAULT_PASSWORD",
    "ENDPOINTS",
    "READ_ONLY",
    "Build",
    "Cause",
    "Clock",
    "Conditions",
    "Faults",
    "JenkinsSimulator",
    "Job",
    "Ledger",
    "LedgerBuild",
    "LedgerItem",
    "LoggedRequest",
    "NotificationFault",
    "ParameterKind",
    "ParameterValue",
    "Permission",
    "RequestFault",
    "RequestLog",
    "Result",
    "SeedJob",
    "SimulatedUser",
    "SimulatorConfig",
]
