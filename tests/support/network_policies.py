"""Decides by NetworkPolicies whether a connection may be made (Kubernetes' page "Network Policies")."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.kubernetes_files import Resource, of_kind
from tests.support.kubernetes_wiring import selects

OWN = {"kubernetes.io/metadata.name": "deployments"}


@dataclass(frozen=True)
class Peer:
    """A pod with its labels and those of its namespace, or an address outside of the cluster."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: dict[str, str] = field(default_factory=lambda: OWN)
    address: str = ""


def allowed(
    resources: list[Resource], source: Peer, target: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """Return whether both ends' policies let the connection through; an end outside of the namespace has none."""
    return _lets(resources, "egress", source, target, port, protocol) and _lets(
        resources, "ingress", target, source, port, protocol
    )


def _lets(
    resources: list[Resource], way: str, own: Peer, other: Peer, port: int, protocol: str
) -> bool:
    if own.address or own.namespace != OWN:
        return True
    rules = list(_rules(resources, way, own))
    # Pods that no policy selects are not isolated; None stands for a policy, with or without rules.
    if not rules:
        return True
    return any(_takes(rule, way, other, port, protocol) for rule in rules if rule is not None)


def _rules(resources: list[Resource], way: str, own: Peer) -> Iterator[Resource | None]:
    for policy in of_kind(resources, "NetworkPolicy").values():
        spec = policy["spec"]
        if selects(spec["podSelector"], own.labels) and way.capitalize() in spec["policyTypes"]:
            yield None
            yield from spec.get(way, [])


def _takes(rule: Resource, way: str, other: Peer, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    if ports and not any(one["port"] == port and one["protocol"] == protocol for one in ports):
        return False
    peers = rule.get("to" if way == "egress" else "from")
    return not peers or any(_is(one, other) for one in peers)


def _is(peer: Resource, other: Peer) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return (
            bool(other.address)
            and _within(other.address, [block["cidr"]])
            and not _within(other.address, block.get("except", []))
        )
    if other.address:
        return False
    in_namespace = (
        selects(peer["namespaceSelector"], other.namespace)
        if "namespaceSelector" in peer
        else other.namespace == OWN
    )
    return in_namespace and selects(peer.get("podSelector", {}), other.labels)


def _within(address: str, networks: list[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in networks)
