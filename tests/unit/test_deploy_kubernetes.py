"""The manifests under deploy/kubernetes: schemas of Kubernetes and rules of ours; each finds a damaged manifest."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from deployment_service.runtime.secret_box import generate_key
from tests.support.deploy_files import ROOT, check_settings, documents
from tests.support.kubernetes_files import (
    config_maps,
    environment,
    of_kind,
    pod_problems,
    rendered,
    schema_problems,
    texts,
    workloads,
)
from tests.support.kubernetes_wiring import wiring_problems
from tests.support.network_policies import Peer, allowed

SECRETS = {
    "secret deployment-service/database-url": "postgresql://u:p@db:5432/deployment",
    "secret deployment-service-migrate/database-url": "postgresql://o:p@db:5432/deployment",
    "secret deployment-service/secret-keys": generate_key(),
    "secret webhook-gateway/api-key": "dsk_1",
}
OVERLAY = "overlays/example"


parsed = cache(documents)


def ours(replace: tuple[str, str, str] | None = None) -> list[dict[str, Any]]:
    """Base and migration as they stand in the files, one of them changed: (file, old, new)."""
    files = texts("base") | texts("migrate")
    if replace is not None:
        name, old, new = replace
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)
    resources = [one for text in files.values() for one in parsed(text)]
    return config_maps("base") + resources


@cache
def undamaged() -> list[dict[str, Any]]:
    return ours()


@cache
def example() -> list[dict[str, Any]]:
    return rendered(OVERLAY) + rendered(f"{OVERLAY}/migrate")


def problems(resources: list[dict[str, Any]], *, checked: Sequence[Any] = ()) -> list[str]:
    """All problems; first those of the schemas, without the resources that are among ``checked``."""
    by_schema = schema_problems([one for one in resources if one not in checked])
    return by_schema or pod_problems(resources) + wiring_problems(resources)


def test_the_files_keep_the_schemas_and_our_rules() -> None:
    assert problems(ours()) == []


def test_the_example_overlay_keeps_them_as_kustomize_renders_it() -> None:
    resources = example()
    assert problems(resources) == []
    assert {
        one["metadata"].get("namespace") for one in resources if one["kind"] != "Namespace"
    } == {"deployments"}
    assert {one["spec"]["containers"][0]["image"] for _, one in workloads(resources)} == {
        "registry.example.com/deployment-service:0.1.0",
        "registry.example.com/webhook-gateway:0.1.0",
    }
    (namespace,) = of_kind(resources, "Namespace").values()
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"


@pytest.mark.parametrize("rendering", ["files", "example"])
def test_the_processes_accept_their_settings(
    rendering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = ours() if rendering == "files" else example()
    for name, template in workloads(resources):
        values = environment(resources, template["spec"]["containers"][0])
        found = {key: SECRETS.get(value, value) for key, value in values.items()}
        if name == "deployment-service-migrate":
            assert set(found) == {"DEPLOYMENT_SERVICE_DATABASE_URL"}
            continue
        prefix = "WEBHOOK_GATEWAY_" if name == "webhook-gateway" else "DEPLOYMENT_SERVICE_"
        check_settings(prefix, found, monkeypatch)
    service = of_kind(resources, "Service")["deployment-service"]
    assert service["spec"]["clusterIP"] == "None"
    target = environment(
        resources, dict(workloads(resources))["webhook-gateway"]["spec"]["containers"][0]
    )["WEBHOOK_GATEWAY_SERVICE_TARGET"]
    assert target == f"dns:///deployment-service:{service['spec']['ports'][0]['port']}"


def test_the_images_are_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for _, template in workloads(ours()):
        assert template["spec"]["containers"][0]["image"].endswith(f":{version}")


SERVICE, GATEWAY, POLICIES, JOB = (
    "service.yaml",
    "gateway.yaml",
    "network-policies.yaml",
    "job.yaml",
)
ROOTLESS = "        runAsNonRoot: true\n"
DAMAGES = [
    # the schemas
    (SERVICE, "maxSurge: 1", "maxSurges: 1", "1.30 Deployment"),
    (SERVICE, "replicas: 2", 'replicas: "2"', "1.37 Deployment spec/replicas"),
    (SERVICE, "policy/v1", "policy/v1beta1", "1.30 PodDisruptionBudget"),
    (SERVICE, "          startupProbe:", "          startProbe:", "1.30 Deployment"),
    (GATEWAY, "averageValue: 600m", "average: 600m", "HorizontalPodAutoscaler"),
    (POLICIES, "protocol: UDP", "protocol: 17", "1.37 NetworkPolicy"),
    (JOB, "backoffLimit: 3", "backoff: 3", "1.30 Job"),
    # the pods
    (SERVICE, ROOTLESS, "", "deployment-service: may run as root"),
    (GATEWAY, "        runAsUser: 10001\n", "", "webhook-gateway: may run as root"),
    (JOB, "runAsUser: 10001", "runAsUser: 0", "migrate: may run as root"),
    (JOB, "type: RuntimeDefault", "type: Unconfined", "without the seccomp profile"),
    (JOB, "restartPolicy: Never", "restartPolicy: Never\n      hostNetwork: true", "hostNetwork"),
    (JOB, "ServiceAccountToken: false", "ServiceAccountToken: true", "ServiceAccountToken"),
    (GATEWAY, "enableServiceLinks: false", "enableServiceLinks: true", "enableServiceLinks"),
    (SERVICE, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "written to"),
    (JOB, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "gain privileges"),
    (GATEWAY, "drop: [ALL]", "drop: [NET_RAW]", "keeps capabilities"),
    (GATEWAY, "drop: [ALL]", "drop: [ALL]\n              add: [SYS_PTRACE]", "keeps capabilities"),
    (SERVICE, "              cpu: 250m\n", "", "without requests"),
    (SERVICE, "mountPath: /tmp", "mountPath: /var/tmp", "do not go together"),
    (SERVICE, "            sizeLimit: 16Mi\n", "", "no bounded volume for /tmp"),
    (SERVICE, "        - name: tmp\n          emptyDir", "        - name: x\n          emptyDir", "no bounded"),
    (JOB, "deployment-service:0.1.0", "deployment-service", "an image without a tag"),
    (JOB, "deployment-service:0.1.0", "deployment-service:latest", "an image without a tag"),
    (JOB, '"migrate"]', '"upgrade"]', "invalid choice"),
    (GATEWAY, '["webhook-gateway"]', '["webhook-gateway", "serve"]', "not a command of ours"),
    (SERVICE, "DEPLOYMENT_SERVICE_SECRET_KEYS", "DEPLOYMENT_SERVICE_KEYS", "no such setting"),
    (
        GATEWAY,
        "              valueFrom:\n                secretKeyRef:\n                  name: webhook-gateway\n"
        "                  key: api-key\n",
        "              value: dsk_1\n",
        "a secret that stands in the manifest: WEBHOOK_GATEWAY_API_KEY",
    ),
    # how they fit together
    (SERVICE, "      app.kubernetes.io/name: dep", "      app.kubernetes.io/name: x", "its own pods"),
    (SERVICE, "targetPort: grpc", "targetPort: rpc", "leads to no port rpc"),
    (GATEWAY, "containerPort: 8080", "containerPort: 8081", "nothing listens on 8081"),
    (SERVICE, "            grpc:\n              port: 50051\n            p", "            grpc:\n"
     "              port: 50051\n              service: liveness\n            p", "does not ask"),
    (SERVICE, "              service: liveness\n            periodSeconds: 10",
     "            periodSeconds: 10", "the livenessProbe asks the database"),
    (SERVICE, "service: liveness", "service: alive", "a health name that does not exist"),
    (SERVICE, "port: 50051\n              service", "port: 50052\n              service", "not there"),
    (SERVICE, "failureThreshold: 720", "failureThreshold: 30", "waits for its database"),
    (SERVICE, "failureThreshold: 3", "failureThreshold: 1", "no patience"),
    (GATEWAY, "path: /healthz", "path: /readyz", "the livenessProbe asks the database"),
    (GATEWAY, "path: /readyz", "path: /healthz", "does not try the key"),
    (GATEWAY, "path: /readyz", "path: /ready", "a path that does not exist"),
    (SERVICE, "replicas: 2", "replicas: 1", "deployment-service: one replica"),
    (GATEWAY, "minReplicas: 2", "minReplicas: 1", "webhook-gateway: one replica"),
    (GATEWAY, "  selector:\n    matchLabels:", "  replicas: 3\n  selector:\n    matchLabels:", "either"),
    (GATEWAY, "    name: webhook-gateway\n  min", "    name: gateway\n  min", "no Deployment"),
    (GATEWAY, "averageValue: 600m", "averageValue: 1200m", "not scaled by a part"),
    (GATEWAY, "averageValue: 600m", "averageUtilization: 70", "not scaled by a part"),
    (GATEWAY, "name: cpu", "name: memory", "not scaled by a part"),
    (SERVICE, "maxUnavailable: 0", "maxUnavailable: 1", "before the new one is ready"),
    (SERVICE, "  maxUnavailable: 1\n", "  maxUnavailable: 0\n", "holds nodes for ever"),
    (SERVICE, "  maxUnavailable: 1\n", "  maxUnavailable: 2\n", "protects nothing"),
    (SERVICE, "PeriodSeconds: 60", "PeriodSeconds: 30", "killed before it has stopped"),
    (GATEWAY, "PeriodSeconds: 30", "PeriodSeconds: 15", "killed before it has stopped"),
    (GATEWAY, "sleep:\n                seconds: 5", 'exec:\n                command: ["true"]', "refuses"),
    (SERVICE, "replicas: 2", "replicas: 3", "100 connections in a roll-out"),
    (GATEWAY, "memory: 512Mi", "memory: 256Mi", "killed for its memory"),
    (POLICIES, "app.kubernetes.io/part-of: dep", "app.kubernetes.io/part-of: x", "selects no pods"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"), DAMAGES, ids=[f"{one[0]}-{one[3]}" for one in DAMAGES]
)
def test_a_damaged_manifest_is_noticed(file: str, old: str, new: str, finding: str) -> None:
    found = problems(ours((file, old, new)), checked=undamaged())
    assert any(finding in one for one in found), found


def ours_named(name: str) -> Peer:
    part_of = "app.kubernetes.io/part-of"
    return Peer({"app.kubernetes.io/name": name, part_of: "deployment-service"})


SERVICE_POD = ours_named("deployment-service")
GATEWAY_POD = ours_named("webhook-gateway")
MIGRATION = ours_named("deployment-service-migrate")
ELSEWHERE = {"kubernetes.io/metadata.name": "shop"}
CLIENT = Peer({"deployment-service/client": "true"}, ELSEWHERE)
STRANGER = Peer({"app": "shop"}, ELSEWHERE)
PROMETHEUS = Peer({}, {"kubernetes.io/metadata.name": "monitoring"})
DNS = Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
DATABASE = Peer(address="192.0.2.10")
JENKINS = Peer(address="192.0.2.20")
CREDENTIALS = Peer(address="169.254.169.254")
FLOWS = [
    (GATEWAY_POD, SERVICE_POD, 50051, True),
    (CLIENT, SERVICE_POD, 50051, True),
    (STRANGER, SERVICE_POD, 50051, False),
    (MIGRATION, SERVICE_POD, 50051, False),
    (SERVICE_POD, GATEWAY_POD, 8080, False),
    (JENKINS, GATEWAY_POD, 8080, True),
    (STRANGER, GATEWAY_POD, 8080, True),
    (JENKINS, GATEWAY_POD, 9464, False),
    (JENKINS, SERVICE_POD, 50051, False),
    (CLIENT, SERVICE_POD, 9464, False),
    (PROMETHEUS, SERVICE_POD, 9464, True),
    (PROMETHEUS, GATEWAY_POD, 9464, True),
    (PROMETHEUS, SERVICE_POD, 50051, False),
    (SERVICE_POD, DATABASE, 5432, True),
    (MIGRATION, DATABASE, 5432, True),
    (GATEWAY_POD, DATABASE, 5432, False),
    (SERVICE_POD, JENKINS, 443, True),
    (GATEWAY_POD, JENKINS, 443, False),
    (MIGRATION, JENKINS, 443, False),
    (SERVICE_POD, JENKINS, 22, False),
    (SERVICE_POD, CREDENTIALS, 443, False),
    (SERVICE_POD, Peer(address="fe80::1"), 443, False),
    (STRANGER, MIGRATION, 50051, False),
]


@pytest.mark.parametrize("rendering", ["files", "example"])
def test_the_policies_let_through_what_is_needed_and_nothing_else(rendering: str) -> None:
    resources = ours() if rendering == "files" else example()
    wrong = [flow for flow in FLOWS if allowed(resources, *flow[:3]) is not flow[3]]
    assert wrong == []
    for pod in (SERVICE_POD, GATEWAY_POD, MIGRATION):
        assert allowed(resources, pod, DNS, 53, "UDP")
        assert not allowed(resources, pod, STRANGER, 53, "UDP")


def test_the_example_opens_the_database_to_the_service_alone() -> None:
    other = Peer(address="192.0.2.30")
    assert not allowed(example(), SERVICE_POD, other, 5432)
    assert not allowed(example(), MIGRATION, other, 5432)
    assert allowed(ours(), SERVICE_POD, other, 5432)


@pytest.mark.parametrize(
    ("old", "new", "flow"),
    [
        ("except: [169.254.0.0/16]", "except: []", (SERVICE_POD, CREDENTIALS, 443)),
        ('except: ["fe80::/10"]', "except: []", (SERVICE_POD, Peer(address="fe80::1"), 443)),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", None),
        ("port: 50051", "port: 50052", (GATEWAY_POD, SERVICE_POD, 50051)),
        ("        - namespaceSelector: {}\n          p", "        - p", (CLIENT, SERVICE_POD, 50051)),
        ('deployment-service/client: "true"\n', "app: shop\n", (STRANGER, SERVICE_POD, 50051)),
        ("metadata.name: monitoring", "metadata.name: shop", (CLIENT, SERVICE_POD, 9464)),
    ],
)  # fmt: skip
def test_a_damaged_policy_is_noticed(old: str, new: str, flow: Any) -> None:
    damaged = ours((POLICIES, old, new))
    if flow is not None:
        wanted = next(one[3] for one in FLOWS if one[:3] == flow)
        assert allowed(damaged, *flow) is not wanted
    else:
        # Only the first policy was changed: the others still isolate their pods; a pod of no other is open.
        new_pod = Peer({"app.kubernetes.io/part-of": "deployment-service"})
        assert not allowed(ours(), new_pod, JENKINS, 443)
        assert allowed(damaged, new_pod, JENKINS, 443)
