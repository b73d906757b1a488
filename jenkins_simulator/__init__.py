"""A Jenkins that really speaks HTTP, for development and tests: see docs/simulator.md."""

from .clock import Clock
from .config import DEFAULT_API_TOKEN, DEFAULT_PASSWORD, SimulatedUser, SimulatorConfig
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
    "READ_ONLY",
    "Build",
    "Clock",
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
    "SimulatedUser",
    "SimulatorConfig",
]
