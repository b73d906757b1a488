"""Settings of a simulated Jenkins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jenkins_simulator.core.conditions import Conditions
from jenkins_simulator.core.permissions import ALL_PERMISSIONS, Permission

DISPLAY_URL = "display-url-api"
DECLARATIVE = "pipeline-model-definition"
SHARED_LIBRARIES = "pipeline-groovy-lib"
DEFAULT_PLUGINS = frozenset({DISPLAY_URL, DECLARATIVE, SHARED_LIBRARIES})
DEFAULT_API_TOKEN = "11" + "5e" * 16
DEFAULT_PASSWORD = "admin-password"


@dataclass(frozen=True)
class SimulatedUser:
    """An account: it logs in by password (needs crumbs) or by API token (needs none)."""

    password: str | None = DEFAULT_PASSWORD
    api_token: str | None = DEFAULT_API_TOKEN
    permissions: frozenset[Permission] = ALL_PERMISSIONS


def _only_admin() -> Mapping[str, SimulatedUser]:
    return {"admin": SimulatedUser()}


@dataclass(frozen=True)
class SimulatorConfig:
    """How the simulated Jenkins is set up; the defaults are those of a real one.

    `root_url` is the "Jenkins URL" that builds and notifications show: a template that may name
    `{host}` and `{port}`, or None for a controller without a configured URL.
    `notification_plugin` is the plugin's version, or None for a controller without it.
    `credentials` maps ids of secret-text credentials to their secrets. The Notification plugin can't do without the
    Credentials plugin; `credentials_plugin` False hides its store, as an old Jenkins or a strict proxy does.
    """

    host: str = "127.0.0.1"
    port: int = 0
    version: str = "2.440"
    plugins: frozenset[str] = DEFAULT_PLUGINS
    """Plugins that only show in the `actions` of builds and jobs; a bare Jenkins has none of them."""
    root_url: str | None = "http://{host}:{port}/"
    quiet_period_s: float = 5.0
    left_item_ttl_s: float = 300.0
    executors: int = 2
    notification_plugin: str | None = "1.19"
    users: Mapping[str, SimulatedUser] = field(default_factory=_only_admin)
    anonymous_permissions: frozenset[Permission] = frozenset()
    credentials: Mapping[str, str] = field(default_factory=dict)
    credentials_plugin: bool = True
    finalize_delay_s: float = 0.01
    """Time between COMPLETED and FINALIZED."""
    first_build_s: float = 0.0
    """The first build of a job is not FINALIZED earlier than this after its start; 0.5 was recorded."""
    leave_queue_s: float = 0.0
    """How long an item that has left the queue shows no executable; 1 to 19 ms were recorded."""
    queue_round_s: float = 0.0
    """Items whose quiet period is over leave in the queue's next round, or at once (0); 5 was recorded."""
    stop_freestyle_s: float = 0.01
    stop_pipeline_s: float = 0.35
    """Time between a stop and the end of the build."""
    queue_saved_every_s: float = 60.0
    """A hard kill loses the queue items that are younger than this."""
    start_up_s: float = 0.0
    """How long everything is answered 503 after a restart."""
    stop_saves_builds: bool = True
    """Whether a freestyle build that a graceful restart aborts is kept; both were recorded."""
    fault_seed: int = 0
    conditions: Conditions = field(default_factory=Conditions)
    """Retry plugin, seed jobs, replicas and the like; `set_conditions` changes them later."""
