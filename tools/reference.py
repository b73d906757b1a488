"""Write the tables of docs/reference/ from the code that they describe, or check that they are up to date.

    python tools/reference.py [check|write]

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``. The text around it is written by hand.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from annotated_types import Ge, Gt, Le, Lt
from limits import RateLimitItem
from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deployment_service import config as service_config  # noqa: E402
from deployment_service.api.policy import POLICIES, AllTenants, Policy  # noqa: E402
from deployment_service.client.cli.main import app as deployctl  # noqa: E402
from webhook_gateway import config as gateway_config  # noqa: E402
from webhook_gateway import errors as gateway_errors  # noqa: E402

PAGES = ROOT / "docs" / "reference"
PROTOS = ROOT / "protos" / "deployment_service" / "v1"
_REGION = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BOUNDS = {Gt: ">", Ge: "≥", Lt: "<", Le: "≤"}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; cells may hold any text on one line."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# Settings


def settings(prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    """Return the table of a configuration class: a row for each field, in the order of the class."""
    return table(
        ("setting", "default", "values", "what it is"),
        (
            (f"`{prefix}{name.upper()}`", _default(field), _values(field), _sentence(field))
            for name, field in fields.items()
        ),
    )


def _sentence(field: FieldInfo) -> str:
    assert field.description, "each setting has a description"
    return field.description.removeprefix("required; ")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in ("", ()):
        return "empty"
    if isinstance(value, RateLimitItem):
        return f"`{value.amount}/{value.GRANULARITY.name}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(one, str) for one in choices):
        return ", ".join(f"`{one}`" for one in choices)
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = [
        f"{_BOUNDS[type(limit)]} {getattr(limit, type(limit).__name__.lower()):,}"
        for limit in _limits(field.metadata)
    ]
    return ", ".join(bounds)


def _limits(metadata: Iterable[Any]) -> Iterator[Any]:
    return (one for one in metadata if type(one) in _BOUNDS)


# Metrics


@dataclass(frozen=True)
class Metric:
    """One metric as the code declares it. ``name`` is that of its samples in Prometheus."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
}


def declared_metrics(package: Path) -> list[Metric]:
    """Return the metrics that the modules of a package declare, by name."""
    found = {
        metric.name: metric
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and (metric := _metric(node)) is not None
    }
    return [found[name] for name in sorted(found)]


def _metric(call: ast.Call) -> Metric | None:
    function = call.func.id if isinstance(call.func, ast.Name) else ""
    texts = [_literal(one) for one in call.args[:2]]
    if function not in _KINDS or len(texts) < 2 or not all(isinstance(one, str) for one in texts):
        return None  # a `collections.Counter`
    name, help_text = str(texts[0]), str(texts[1])
    kind = _KINDS[function]
    keywords = {one.arg: one.value for one in call.keywords}
    labels = keywords.get("labels", call.args[2] if len(call.args) > 2 else None)
    return Metric(
        f"{name}_total" if kind == "counter" else name,
        kind,
        tuple(_literal(labels) or ()) if labels is not None else (),
        help_text,
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def metrics(package: str) -> str:
    """Return the table of a package's metrics."""
    return table(
        ("metric", "kind", "labels", "what it is"),
        (
            (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
            for one in declared_metrics(ROOT / package)
        ),
    )


# The contract

_OPENS = re.compile(r"^(?:service|message|enum|oneof) (\w+) \{$")
_RPC = re.compile(r"^rpc (\w+)\(.*\);$")
_FIELD = re.compile(r"^(?:(?:repeated |optional )?[\w.]+|map<[^>]*>) (\w+) = \d+(?: \[.*\])?;$")
_VALUE = re.compile(r"^([A-Z][A-Z0-9_]*) = \d+;$")


def comments(text: str) -> dict[str, str]:
    """Return the comment of each element of a .proto file, by its path: ``Run.name``, ``Actor.Kind.KIND_KEY``."""
    found: dict[str, str] = {}
    scope: list[str] = []
    comment: list[str] = []
    for line in (one.strip() for one in text.splitlines()):
        if line.startswith("//"):
            if "buf:lint" not in line:
                comment.append(line.removeprefix("//").strip())
            continue
        opened = _OPENS.match(line)
        named = opened or _RPC.match(line) or _VALUE.match(line) or _FIELD.match(line)
        if named:
            found[".".join((*scope, named[1]))] = "\n".join(comment)
        if opened:
            scope.append(opened[1])
        elif line == "}":
            scope.pop()
        comment = []
    return found


def contract() -> dict[str, str]:
    """Return the comments of the whole contract."""
    found: dict[str, str] = {}
    for path in sorted(PROTOS.glob("*.proto")):
        found |= comments(path.read_text())
    return found


def members(parent: str, prefix: str = "", *, zero: bool = True) -> str:
    """Return the table of an enum's values or a message's fields, without those that hold others.

    ``prefix`` is left out of their names. ``zero``: whether the value for "unspecified" has a row.
    """
    texts = contract()
    holding = {path.rpartition(".")[0] for path in texts}
    rows = []
    for path, comment in texts.items():
        above, _, name = path.rpartition(".")
        if above == parent and path not in holding and (zero or not name.endswith("UNSPECIFIED")):
            rows.append((f"`{name.removeprefix(prefix)}`", comment))
    return table(("name", "what it is"), rows)


def calls(service: str) -> str:
    """Return the table of a service's calls, with the least role and the largest request of each."""
    texts = contract()
    return table(
        ("call", "role", "largest request", "what it does"),
        (
            (
                f"`{path.rpartition('/')[2]}`",
                _role(policy),
                _size(policy.max_bytes),
                _first(texts, path),
            )
            for path, policy in POLICIES.items()
            if path.startswith(f"/deployment_service.v1.{service}/")
        ),
    )


def _role(policy: Policy) -> str:
    everywhere = ", key for all tenants" if isinstance(policy.scope, AllTenants) else ""
    return policy.role.lower() + everywhere


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count // 2**10} KiB"


def _first(texts: Mapping[str, str], path: str) -> str:
    """The first sentence of a call's comment."""
    service, _, call = path.rpartition(".")[2].partition("/")
    text = " ".join(texts[f"{service}.{call}"].partition("\n\n")[0].split())
    return re.split(r"(?<=[.]) (?=[A-Z])", text)[0]


# The command line


def commands() -> str:
    """Return a section for each command of deployctl, with its arguments and options."""
    parts = []
    for path, command in _commands(typer.main.get_command(deployctl), ()):
        arguments = [one for one in command.params if not one.opts[0].startswith("-")]
        usage = " ".join(("deployctl", *path, *map(_usage, arguments)))
        rows = [(", ".join(f"`{opt}`" for opt in one.opts), _help(one)) for one in command.params]
        parts.append(f"### `{usage}`\n\n{' '.join((command.help or '').split())}\n")
        if rows:
            parts.append(table(("argument or option", "what it is"), rows))
    return "\n".join(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    if not subcommands:
        yield path, command
    for name, one in subcommands.items():
        yield from _commands(one, (*path, name))


def _usage(argument: Any) -> str:
    name = argument.name.upper()
    return name if argument.required else f"[{name}]"


def _help(parameter: Any) -> str:
    if parameter.opts[0].startswith("-") and parameter.required:
        return f"{parameter.help} Required."
    return str(parameter.help or "")


TABLES: dict[str, Callable[[], str]] = {
    "service-settings": lambda: settings(
        service_config.PREFIX, service_config.Settings.model_fields
    ),
    "gateway-settings": lambda: settings(
        gateway_config.PREFIX, gateway_config.Settings.model_fields
    ),
    "deployctl": commands,
    "service-metrics": lambda: metrics("deployment_service"),
    "gateway-metrics": lambda: metrics("webhook_gateway"),
    "deployment-calls": lambda: calls("DeploymentService"),
    "gateway-calls": lambda: calls("GatewayService"),
    "admin-calls": lambda: calls("AdminService"),
    "event-types": lambda: members("DeploymentEvent.Type", zero=False),
    "event-fields": lambda: members("DeploymentEvent"),
    "event-sources": lambda: members("EventSource", "EVENT_SOURCE_", zero=False),
    "actors": lambda: members("Actor.Kind", "KIND_", zero=False),
    "statuses": lambda: members("DeploymentStatus", "DEPLOYMENT_STATUS_", zero=False),
    "certainties": lambda: members("Certainty", "CERTAINTY_", zero=False),
    "waiting-for": lambda: members("WaitingFor", "WAITING_FOR_", zero=False),
    "failure-causes": lambda: members("FailureCause", "FAILURE_CAUSE_", zero=False),
    "problem-reasons": lambda: members(
        "ObservationProblemReason", "OBSERVATION_PROBLEM_REASON_", zero=False
    ),
    "gateway-answers": gateway_errors.table,
    "verdicts": lambda: members("ReportVerdict", "REPORT_VERDICT_", zero=False),
}


def filled(page: str) -> str:
    """Return a page with its tables as the code now has them. Raises KeyError for a table that has no source."""
    return _REGION.sub(
        lambda found: found[1] + "\n" + TABLES[found[2]]().strip("\n") + "\n\n" + found[3], page
    )


def outdated() -> list[Path]:
    """Return the pages whose tables differ from the code."""
    return [
        page for page in sorted(PAGES.glob("*.md")) if filled(page.read_text()) != page.read_text()
    ]


def main(command: str = "write") -> int:
    """Return the exit code."""
    pages = outdated()
    for page in pages:
        if command == "write":
            page.write_text(filled(page.read_text()))
        print(f"{page.relative_to(ROOT)}: {'written' if command == 'write' else 'out of date'}")
    if pages and command == "check":
        print("Tables of the reference differ from the code; to write them: make reference")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
