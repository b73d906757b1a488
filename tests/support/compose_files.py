"""Reads deploy/compose.yaml as Compose does, and finds in it what breaks our rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from compose_spec import PyCompose

from tests.support.container_files import stages
from tests.support.deploy_files import (
    DEPLOY,
    command_problem,
    documents,
    interpolated,
    unknown_settings,
    writes_temporary_files,
)

OURS = ("migrate", "service", "gateway", "simulator")
PACKAGES = {
    "service": "deployment_service",
    "gateway": "webhook_gateway",
    "simulator": "jenkins_simulator",
}
_SECRET = re.compile(r"PASSWORD|SECRET|_KEY\b|_KEYS\b|TOKEN")


def findings(text: str, variables: dict[str, str]) -> list[str]:
    """Return what breaks the schema of Compose or our rules."""
    (raw,) = documents(text)
    compose = interpolated(raw, variables)
    try:
        PyCompose.from_json(json.dumps(compose))
    except ValueError as error:
        return [f"schema: {error}"]
    services = compose["services"]
    found = []
    for name, service in services.items():
        found += [f"{name}: {one}" for one in _of_any(service, raw["services"][name])]
        found += [f"{name}: {one}" for one in _of_dependencies(service, services)]
        found += [f"{name}: {one}" for one in _of_build(service)]
        if name in OURS:
            found += [f"{name}: {one}" for one in _of_ours(service)]
            package = PACKAGES.get(name)
            has_tmp = any(one.startswith("/tmp:") for one in service.get("tmpfs", []))
            if package and writes_temporary_files(package) is not has_tmp:
                found.append(f"{name}: temporary files and a writable /tmp do not go together")
        declared = set(compose.get("networks", {})) | {"default"}
        found += [f"{name}: no such network {one}" for one in networks(service) - declared]
    return found


def networks(service: dict[str, Any]) -> set[str]:
    """Return the networks that a service is on."""
    return set(service.get("networks", ["default"]))


def reaches(services: dict[str, Any], one: str, other: str) -> bool:
    """Return whether two services share a network."""
    return bool(networks(services[one]) & networks(services[other]))


def _of_any(service: dict[str, Any], raw: dict[str, Any]) -> list[str]:
    found = []
    image = service.get("image", "")
    if re.search(r"[.:]\S*/", image):
        found.append(f"an image that names its registry: {image}")
    if not re.search(r":(?!latest)[\w.-]+$|@sha256:", image):
        found.append(f"an image without a tag: {image}")
    for name, value in raw.get("environment", {}).items():
        if _SECRET.search(name) and not re.fullmatch(r"\$\{\w+(:\?[^}]+|-)\}", str(value)):
            found.append(f"a secret that stands in the file: {name}")
        elif re.search(r"://[^$/]*:[^$/]+@", str(value)):
            found.append(f"a password that stands in the file: {name}")
    return found + [
        f"a port that other machines reach by default: {port}"
        for port in service.get("ports", [])
        if not port.startswith("127.0.0.1:")
    ]


def _of_dependencies(service: dict[str, Any], services: dict[str, Any]) -> list[str]:
    found = []
    for name, wanted in service.get("depends_on", {}).items():
        other = services.get(name)
        if other is None:
            found.append(f"depends on {name}, which does not exist")
        elif wanted["condition"] == "service_healthy" and not _has_health_check(other):
            found.append(f"waits for {name}, which has no health check")
        elif (
            wanted["condition"] == "service_completed_successfully" and other.get("restart") != "no"
        ):
            found.append(f"waits for the end of {name}, which is started again")
    return found


def _has_health_check(service: dict[str, Any]) -> bool:
    if "healthcheck" in service:
        return "test" in service["healthcheck"]
    image = _stage(service)
    return image is not None and image.last("HEALTHCHECK") is not None


def _stage(service: dict[str, Any]) -> Any:
    build = service.get("build", {})
    dockerfile = _dockerfile(build)
    if not dockerfile.is_file():
        return None
    found = stages(dockerfile.read_text())
    return found.get(build.get("target", next(reversed(found))))


def _dockerfile(build: dict[str, Any]) -> Path:
    return DEPLOY / str(build.get("context", "none")) / str(build.get("dockerfile", "Dockerfile"))


def _of_build(service: dict[str, Any]) -> list[str]:
    if "build" not in service:
        return []
    build = service["build"]
    if _stage(service) is None:
        return [f"nothing to build: {build}"]
    text = _dockerfile(build).read_text()
    return [
        f"no such build argument: {name}" for name in build["args"] if f"ARG {name}=" not in text
    ]


def _of_ours(service: dict[str, Any]) -> list[str]:
    found = []
    wanted = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    found += [f"without {key}" for key, value in wanted.items() if service.get(key) != value]
    found += [
        f"no such setting: {name}" for name in unknown_settings(service.get("environment", {}))
    ]
    if "command" in service and service["image"].startswith("deployment-service:"):
        problem = command_problem(["deployment-service", *service["command"]])
        found += [problem] if problem else []
    return found
