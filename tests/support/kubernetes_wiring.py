"""Finds in the manifests what does not fit together: selectors, ports, probes, replicas, time to stop, connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deployment_service.api.setup import LIVENESS
from deployment_service.server import SERVICE_NAMES
from tests.support.kubernetes_files import Resource, environment, of_kind, workloads
from webhook_gateway.config import Settings as GatewaySettings

# The service stops within this time after its calls are drained, whatever its database does: requests to Jenkins 10 s,
# then the last statements. tests/integration/test_deploy_stop.py holds a process to it; the longest that it measured,
# the calls included, was 22 s.
AFTER_DRAIN_S = 35
# The gateway after STOP_TIMEOUT: its connections get 3 s (webhook_gateway/__main__.py), the rest is margin.
AFTER_QUEUE_S = 8
# PostgreSQL's default of max_connections, less those that it reserves for superusers, less the migration's.
CONNECTIONS = 100 - 3 - 2
_MIB = 2**20


def wiring_problems(resources: list[Resource]) -> list[str]:
    """Return what does not fit together."""
    return [
        *_selector_problems(resources),
        *_probe_problems(resources),
        *_availability_problems(resources),
        *_stop_problems(resources),
        *_size_problems(resources),
    ]


def _labels(resources: list[Resource]) -> dict[str, dict[str, str]]:
    return {name: template["metadata"]["labels"] for name, template in workloads(resources)}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector that has only ``matchLabels`` takes these labels."""
    assert set(selector) <= {"matchLabels"}
    return set(selector.get("matchLabels", {}).items()) <= set(labels.items())


def _selector_problems(resources: list[Resource]) -> Iterator[str]:
    labels = _labels(resources)
    for name, one in of_kind(resources, "Deployment").items():
        if not selects(one["spec"]["selector"], labels[name]):
            yield f"{name}: the Deployment does not select its own pods"
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            if not selects(spread["labelSelector"], labels[name]):
                yield f"{name}: spreads other pods than its own"
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for name, one in of_kind(resources, kind).items():
            if not any(selects(one["spec"][field], its) for its in labels.values()):
                yield f"{name}: the {kind} selects no pods"
    for name, one in of_kind(resources, "Service").items():
        selector = {"matchLabels": one["spec"]["selector"]}
        ports = {
            port["name"]
            for workload, template in workloads(resources)
            if selects(selector, labels[workload])
            for port in template["spec"]["containers"][0].get("ports", [])
        }
        for port in one["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"{name}: the Service leads to no port {port['targetPort']}"


def _probe_problems(resources: list[Resource]) -> Iterator[str]:
    for name, one in of_kind(resources, "Deployment").items():
        (container,) = one["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listens = {
            value.rpartition(":")[2]
            for variable, value in environment(resources, container).items()
            if variable.endswith(("_LISTEN", "_PORT"))
        }
        for port in ports.values():
            if str(port) not in listens:
                yield f"{name}: nothing listens on {port}"
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind)
            if probe is None:
                yield f"{name}: no {kind}"
                continue
            port = (probe.get("grpc") or probe["httpGet"])["port"]
            if port not in ports and port not in ports.values():
                yield f"{name}: the {kind} asks a port that is not there"
            yield from (f"{name}: {problem}" for problem in _meaning_problems(kind, probe))


def _meaning_problems(kind: str, probe: dict[str, Any]) -> Iterator[str]:
    """What a probe asks must be what its kind is for."""
    if "grpc" in probe:
        asked = probe["grpc"].get("service", "")
        if asked not in ("", LIVENESS, *SERVICE_NAMES):
            yield f"the {kind} asks for a health name that does not exist: {asked}"
        asks_database = asked != LIVENESS
        if kind == "readinessProbe" and not asks_database:
            yield "the readinessProbe does not ask the database"
    else:
        asked = probe["httpGet"]["path"]
        if asked not in ("/healthz", "/readyz"):
            yield f"the {kind} asks for a path that does not exist: {asked}"
        asks_database = asked == "/readyz"
        if kind == "startupProbe" and not asks_database:
            yield "the startupProbe does not try the key"
        if kind == "readinessProbe" and asks_database:
            yield "the readinessProbe takes all gateways away while the service is unavailable"
    if kind == "livenessProbe" and asks_database:
        yield "the livenessProbe asks the database"
    patience_s = probe["failureThreshold"] * probe["periodSeconds"]
    if kind == "startupProbe" and patience_s < 3600:
        yield "the startupProbe ends a process that waits for its database"
    if kind == "livenessProbe" and patience_s < 30:
        yield "the livenessProbe has no patience"


def _availability_problems(resources: list[Resource]) -> Iterator[str]:
    scalers = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]
        for one in of_kind(resources, "HorizontalPodAutoscaler").values()
    }
    deployments = of_kind(resources, "Deployment")
    for name, scaler in scalers.items():
        (metric,) = scaler["metrics"]
        core = re.fullmatch(r"(\d+)m", metric["resource"]["target"].get("averageValue", ""))
        if metric["resource"]["name"] != "cpu" or core is None or int(core[1]) > 800:
            yield f"{name}: not scaled by a part of the one core that its event loop can use"
    for name in scalers.keys() - deployments.keys():
        yield f"{name}: scaled, but no Deployment"
    for name, one in deployments.items():
        spec = one["spec"]
        if ("replicas" in spec) is (name in scalers):
            yield f"{name}: replicas must be set either by the Deployment or by a scaler"
        replicas = scalers[name]["minReplicas"] if name in scalers else spec.get("replicas", 1)
        if replicas < 2:
            yield f"{name}: one replica"
        if spec["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            yield f"{name}: a roll-out takes a replica away before the new one is ready"
        its = spec["template"]["metadata"]["labels"]
        allowed = [
            budget["spec"].get("maxUnavailable")
            for budget in of_kind(resources, "PodDisruptionBudget").values()
            if selects(budget["spec"]["selector"], its)
        ]
        if len(allowed) != 1 or allowed[0] is None or not 1 <= allowed[0] < replicas:
            yield f"{name}: its PodDisruptionBudget protects nothing or holds nodes for ever"


def _stop_problems(resources: list[Resource]) -> Iterator[str]:
    for name, one in of_kind(resources, "Deployment").items():
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        needed = sleep.get("seconds", 0) + stop_bound_s(environment(resources, container))
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{name}: killed before it has stopped, which may take {needed:g} s"
        if "httpGet" in container["readinessProbe"] and not sleep:
            yield f"{name}: refuses connections that proxies still send it"


def stop_bound_s(values: dict[str, str]) -> float:
    """Return how many seconds the process of this environment may take to stop."""
    if "DEPLOYMENT_SERVICE_DATABASE_URL" in values:
        return float(values.get("DEPLOYMENT_SERVICE_DRAIN_GRACE_S", 10)) + AFTER_DRAIN_S
    return float(values.get("WEBHOOK_GATEWAY_STOP_TIMEOUT", 10)) + AFTER_QUEUE_S


def _size_problems(resources: list[Resource]) -> Iterator[str]:
    deployments = of_kind(resources, "Deployment")
    service, gateway = deployments["deployment-service"], deployments["webhook-gateway"]
    values = environment(resources, service["spec"]["template"]["spec"]["containers"][0])
    # What is not set is the default: 20, 10 and 5.
    pools = sum(
        int(values.get(f"DEPLOYMENT_SERVICE_{pool}_POOL_CONNECTIONS", default))
        for pool, default in (("API", 20), ("WORKER", 10), ("WATCH", 5))
    )
    at_once = service["spec"]["replicas"] + service["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    if at_once * (pools + 1) > CONNECTIONS:
        yield f"deployment-service: {at_once * (pools + 1)} connections in a roll-out"
    container = gateway["spec"]["template"]["spec"]["containers"][0]
    limit = re.fullmatch(r"(\d+)Mi", container["resources"]["limits"]["memory"])
    fields = GatewaySettings.model_fields
    needed = fields["max_bodies_bytes"].default + fields["queue_bytes"].default + 128 * _MIB
    if limit is None or int(limit[1]) * _MIB < needed:
        yield "webhook-gateway: killed for its memory before its own limits refuse more"
