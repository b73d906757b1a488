"""What other services import: channel, retries, resumable watch; and deployctl."""

from deployment_service.client.client import DeploymentClient, new_request_id
from deployment_service.client.errors import DeploymentServiceError, HistoryLost, WatchGapError
from deployment_service.client.watch import Watch, WatchMessages

__all__ = [
    "DeploymentClient",
    "DeploymentServiceError",
    "HistoryLost",
    "Watch",
    "WatchGapError",
    "WatchMessages",
    "new_request_id",
]
