"""What other services import: channel, retries, resumable watch; and deployctl."""

from deployment_service.client.client import DeploymentClient, new_request_id
from deployment_service.client.errors import DeploymentServiceError, WatchGapError
from deployment_service.client.watch import Watch

__all__ = [
    "DeploymentClient",
    "DeploymentServiceError",
    "Watch",
    "WatchGapError",
    "new_request_id",
]
