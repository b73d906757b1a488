"""The tables of docs/reference/ are those of the code; commands and settings on other pages exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from google.protobuf.descriptor import EnumDescriptor
from prometheus_client import CollectorRegistry

from deployment_service.api.policy import POLICIES
from deployment_service.client.cli.main import app as deployctl
from deployment_service.domain.events import EventType
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway_pb
from tests.support.metrics import gateway_registry, service_registry
from tools import reference

ROOT = Path(__file__).resolve().parents[2]
REGIONS = re.compile(r"<!-- table: ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
PAGES = {page.name: page.read_text() for page in sorted(reference.PAGES.glob("*.md"))}
WRITTEN = dict(region for page in PAGES.values() for region in REGIONS.findall(page))


def first_cells(table: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", WRITTEN[table], re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_up_to_date(name: str):
    assert reference.filled(PAGES[name]) == PAGES[name], "to write the tables: make reference"


def test_every_table_stands_on_a_page():
    assert WRITTEN.keys() == reference.TABLES.keys()
    assert all(table.count("\n| ") >= 3 for table in WRITTEN.values())


def test_an_outdated_table_is_noticed():
    text = "<!-- table: statuses -->\n| `OLD` | gone |\n<!-- end -->\nby hand"
    assert reference.filled(text) != text
    assert reference.filled(text).endswith("<!-- end -->\nby hand")
    with pytest.raises(KeyError):
        reference.filled("<!-- table: no-such-table -->\n<!-- end -->")


def test_every_type_of_event_is_described():
    assert set(first_cells("event-types")) == {one.value for one in EventType}
    fields = {field.name for field in pb.DeploymentEvent.DESCRIPTOR.fields}
    assert set(first_cells("event-fields")) == fields


@pytest.mark.parametrize(
    ("table", "enum", "prefix"),
    [
        ("event-types", pb.DeploymentEvent.Type.DESCRIPTOR, ""),
        ("event-sources", pb.EventSource.DESCRIPTOR, "EVENT_SOURCE_"),
        ("actors", pb.Actor.Kind.DESCRIPTOR, "KIND_"),
        ("statuses", pb.DeploymentStatus.DESCRIPTOR, "DEPLOYMENT_STATUS_"),
        ("certainties", pb.Certainty.DESCRIPTOR, "CERTAINTY_"),
        ("waiting-for", pb.WaitingFor.DESCRIPTOR, "WAITING_FOR_"),
        ("failure-causes", pb.FailureCause.DESCRIPTOR, "FAILURE_CAUSE_"),
        (
            "problem-reasons",
            pb.ObservationProblemReason.DESCRIPTOR,
            "OBSERVATION_PROBLEM_REASON_",
        ),
        ("verdicts", gateway_pb.ReportVerdict.DESCRIPTOR, "REPORT_VERDICT_"),
    ],
)
def test_every_value_of_an_enum_is_described(table: str, enum: EnumDescriptor, prefix: str):
    values = {value.name.removeprefix(prefix) for value in enum.values if value.number}
    assert set(first_cells(table)) == values
    assert re.search(r"\|\s*\|$", WRITTEN[table], re.MULTILINE) is None, "each has a description"


def test_every_call_is_listed():
    listed = [
        call
        for table in ("deployment-calls", "admin-calls", "gateway-calls")
        for call in first_cells(table)
    ]
    assert sorted(listed) == sorted(path.rpartition("/")[2] for path in POLICIES)


@pytest.mark.parametrize(
    ("table", "registry"),
    [("service-metrics", service_registry()), ("gateway-metrics", gateway_registry())],
    ids=["service", "gateway"],
)
def test_the_metrics_are_those_that_are_registered(table: str, registry: CollectorRegistry):
    registered = {
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type)
        for family in registry.collect()
    }
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", WRITTEN[table], re.MULTILINE)
    assert set(listed) == registered


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('Gauge("a", "What a is.", ["x"], registry=r)', [("a", "gauge", ("x",))]),
        ('Counter("b", "What b is.", registry=r)', [("b_total", "counter", ())]),
        ('CounterMetricFamily("c", "What c is.", labels=["y"])', [("c_total", "counter", ("y",))]),
        ("Counter(names)", []),
        ("Counter()", []),
        ('Gauge(NAME, "computed")', []),
    ],
)
def test_what_counts_as_a_declared_metric(
    tmp_path: Path, code: str, found: list[tuple[str, str, tuple[str, ...]]]
):
    (tmp_path / "module.py").write_text(f"x = {code}\n")
    metrics = reference.declared_metrics(tmp_path)
    assert [(one.name, one.kind, one.labels) for one in metrics] == found


def test_comments_are_read_with_their_paths():
    found = reference.comments(
        """
        // A thing.
        message Thing {
          // Its kinds.
          enum Kind {
            // None.
            KIND_UNSPECIFIED = 0;
            // One of
            // two lines.
            // buf:lint:ignore ENUM_VALUE_PREFIX
            ONE = 1;
          }
          // Named.
          map<string, string> labels = 1;
          // Chosen.
          oneof choice {
            // First.
            other.v1.Thing first = 2;
          }
          repeated string bare = 3;
        }
        """
    )
    assert found == {
        "Thing": "A thing.",
        "Thing.Kind": "Its kinds.",
        "Thing.Kind.KIND_UNSPECIFIED": "None.",
        "Thing.Kind.ONE": "One of\ntwo lines.",
        "Thing.labels": "Named.",
        "Thing.choice": "Chosen.",
        "Thing.choice.first": "First.",
        "Thing.bare": "",
    }


TEXTS = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "reference/deployctl.md" not in str(page)
}
COMMAND = re.compile(r"\bdeployctl((?: [^\s`|)#]+)+)")


def unknown_parts(words: list[str]) -> list[str]:
    """The words of a deployctl command line that no command or option has."""
    command = typer.main.get_command(deployctl)
    options = {opt for one in command.params for opt in one.opts}
    unknown = []
    for word in words:
        subcommands = getattr(command, "commands", {})
        if word.startswith("--"):
            unknown += [] if word in options | {"--help"} else [word]
        elif word in subcommands:
            command = subcommands[word]
            options |= {opt for one in command.params for opt in one.opts}
        elif subcommands and word.islower() and word.isalpha() and word not in ("demo",):
            return [*unknown, word]
    return unknown


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_line_on_a_page_exists(name: str):
    wrong = {
        line: unknown
        for line in COMMAND.findall(TEXTS[name])
        if (unknown := unknown_parts(line.replace("'", " ").split()))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", TEXTS)
def test_every_setting_on_a_page_exists(name: str):
    settings = {
        *(
            cell
            for table in ("service-settings", "gateway-settings")
            for cell in first_cells(table)
        ),
        "DEPLOYMENT_SERVICE_TARGET",
    }
    named = re.findall(r"\b(?:DEPLOYMENT_SERVICE|WEBHOOK_GATEWAY)_[A-Z_]*[A-Z]\b", TEXTS[name])
    assert set(named) - {"WEBHOOK_GATEWAY_URL"} <= settings


METRIC = re.compile(
    r"`((?!test_)[a-z_]+_(?:total|seconds|usable|runs|connected)(?:_count)?)(?:\{[^`]*\})?`"
)


@pytest.mark.parametrize("name", TEXTS)
def test_every_metric_on_a_page_exists(name: str):
    metrics = {*first_cells("service-metrics"), *first_cells("gateway-metrics")}
    named = {one.removesuffix("_count") for one in METRIC.findall(TEXTS[name])}
    assert named - {"max_active_runs", "deployment_runs"} <= metrics


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("run hello --wait", []),
        ("--json events web --since 12h", []),
        ("deployments create web --shell true", []),
        ("deployments crate web", ["crate"]),
        ("run hello --waits", ["--waits"]),
        ("keys create --roles admin", ["--roles"]),
        ("--tenant demo keys create --role definer", []),
    ],
)
def test_what_counts_as_an_unknown_command(line: str, unknown: list[str]):
    assert unknown_parts(line.split()) == unknown
