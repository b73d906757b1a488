"""A Jenkins that really speaks HTTP, for development and tests: see docs/simulator.md."""

from .clock import Clock
from .conditions import Conditions, SeedJob
from .config import DEFAULT_API_TOKEN, DEFAULT_PASSWORD, SimulatedUser, SimulatorConfig
from .endpoints import ENDPOINTS
from .faults import Faults, NotificationFault, RequestFault
from .ledger import Ledger, LedgerBuild, LedgerItem
from .model import Build, Job, Result
from .permissions import ALL_PERMISSIONS, READ_ONLY, Permission
from .requests_log import LoggedRequest, RequestLog
from .simulator import JenkinsSimulator

__all__ = [
    "ALL_PERMISSIONS",
    "DEFAULT_API_TOKEN",
    "DEFAULT_PASSWORD",
    "ENDPOINTS",
    "READ_ONLY",
    "Build",
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
    "Permission",
    "RequestFault",
    "RequestLog",
    "Result",
    "SeedJob",
    "SimulatedUser",
    "SimulatorConfig",
]
