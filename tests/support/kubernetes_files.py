"""Reads the manifests under deploy/kubernetes and finds in them what breaks the schema or our rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest

from tests.support.deploy_files import (
    DEPLOY,
    command_problem,
    documents,
    env_file,
    is_secret,
    unknown_settings,
    writes_temporary_files,
)

FOLDER = DEPLOY / "kubernetes"
# The oldest release that the manifests are for (preStop with `sleep`), and the newest whose schema the validator has.
VERSIONS = ("1.30", "1.37")
Resource = dict[str, Any]


def texts(folder: str) -> dict[str, str]:
    """Return the files of a folder that its kustomization names as resources, by name."""
    (kustomization,) = documents((FOLDER / folder / "kustomization.yaml").read_text())
    names = [name for name in kustomization["resources"] if name.endswith(".yaml")]
    return {name: (FOLDER / folder / name).read_text() for name in names}


def config_maps(folder: str) -> list[Resource]:
    """Return the ConfigMaps that the kustomization of a folder generates, without the hashes in their names."""
    (kustomization,) = documents((FOLDER / folder / "kustomization.yaml").read_text())
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": one["name"]},
            "data": {
                key: value
                for file in one["envs"]
                for key, value in env_file((FOLDER / folder / file).read_text()).items()
            },
        }
        for one in kustomization.get("configMapGenerator", [])
    ]


def rendered(folder: str) -> list[Resource]:
    """Return what kustomize makes of a folder; skip the test where there is none."""
    for program, command in (
        ("kubectl", ["kubectl", "kustomize"]),
        ("kustomize", ["kustomize", "build"]),
    ):
        if shutil.which(program):
            ended = subprocess.run(
                [*command, str(FOLDER / folder)], capture_output=True, text=True, timeout=50
            )
            assert ended.returncode == 0, ended.stderr
            return documents(ended.stdout)
    pytest.skip("neither kubectl nor kustomize is installed")


def schema_problems(resources: list[Resource]) -> list[str]:
    """Return what the schemas of both Kubernetes versions refuse, unknown fields included."""
    found = []
    for version in VERSIONS:
        for one in resources:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = "/".join(map(str, error.path))
                found.append(f"{version} {one.get('kind')} {path}: {error.message[:200]}")
            except kubernetes_validate.SchemaNotFoundError as error:
                found.append(f"{version} {one.get('kind')}: {error}")
    return found


def of_kind(resources: list[Resource], kind: str) -> dict[str, Resource]:
    """Return the resources of a kind by name."""
    return {one["metadata"]["name"]: one for one in resources if one["kind"] == kind}


def workloads(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """Yield (name, pod template) of each Deployment and Job."""
    for kind in ("Deployment", "Job"):
        for name, one in of_kind(resources, kind).items():
            yield name, one["spec"]["template"]


def environment(resources: list[Resource], container: Resource) -> dict[str, str]:
    """Return what a container's process sees, with ``secret NAME/KEY`` for what comes from a Secret."""
    maps = of_kind(resources, "ConfigMap")
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= maps[source["configMapRef"]["name"]]["data"]
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("secretKeyRef")
        values[one["name"]] = (
            f"secret {reference['name']}/{reference['key']}" if reference else one.get("value", "")
        )
    return values


def pod_problems(resources: list[Resource]) -> list[str]:
    """Return what breaks the Pod Security Standard `restricted`, and our stricter rules, in any pod."""
    found = []
    for name, template in workloads(resources):
        pod = template["spec"]
        (container,) = pod["containers"]
        found += [f"{name}: {one}" for one in _of_pod(pod)]
        found += [f"{name}: {one}" for one in _of_temporary_files(pod)]
        found += [f"{name}: {one}" for one in _of_container(container)]
        found += [f"{name}: {one}" for one in _of_environment(resources, container)]
    return found


def _of_pod(pod: Resource) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "without the seccomp profile of the runtime"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"shares with its node: {field}"
    for field in ("automountServiceAccountToken", "enableServiceLinks"):
        if pod.get(field) is not False:
            yield f"not switched off: {field}"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield "mounts a path of its node"


def _of_temporary_files(pod: Resource) -> Iterator[str]:
    (container,) = pod["containers"]
    package = {"serve": "deployment_service", "webhook-gateway": "webhook_gateway"}.get(
        container["command"][-1]
    )
    mounts = {one["mountPath"]: one["name"] for one in container.get("volumeMounts", [])}
    volumes = {one["name"]: one for one in pod.get("volumes", [])}
    if package and writes_temporary_files(package) is not ("/tmp" in mounts):
        yield "temporary files and a /tmp that can be written to do not go together"
    for path, name in mounts.items():
        if "sizeLimit" not in volumes.get(name, {}).get("emptyDir", {}):
            yield f"no bounded volume for {path}"


def _of_container(container: Resource) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("readOnlyRootFilesystem") is not True:
        yield "a root file system that can be written to"
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    requests = container.get("resources", {}).get("requests", {})
    if set(requests) != {"cpu", "memory"} or "memory" not in container["resources"].get(
        "limits", {}
    ):
        yield "without requests and a memory limit"
    if not re.search(r":(?!latest)[\w.-]+$|@sha256:", container["image"]):
        yield f"an image without a tag: {container['image']}"
    problem = command_problem(container.get("command", []))
    if problem:
        yield problem


def _of_environment(resources: list[Resource], container: Resource) -> Iterator[str]:
    values = environment(resources, container)
    for name in unknown_settings(values):
        yield f"no such setting: {name}"
    for name, value in values.items():
        if is_secret(name) and not value.startswith("secret "):
            yield f"a secret that stands in the manifest: {name}"
