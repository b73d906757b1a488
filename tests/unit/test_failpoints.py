"""Failpoints: found in the code, absent unless asked for, and loud when they are there."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from deployment_service import failpoints, server
from deployment_service.cicd.port import CicdProvider
from deployment_service.config import Settings, SettingsError, load_settings
from deployment_service.failpoints import FailpointReached
from deployment_service.storage.database.pool import Database
from tests.chaos import points, test_kill_everywhere
from tests.support.api import settings_for

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(?:commit|statement|provider)\.[A-Za-z_.]+\.(?:before|after)\b")
WRONG = [
    "trigger",
    "provider.trigger=die",
    "provider.trigger.after=sleep",
    "nothing.x=crash",
    "=raise",
]


def test_nothing_of_them_is_in_a_service_that_did_not_ask():
    """P3: never active by accident. Without the setting the seams are the plain classes."""
    assert Settings.model_fields["failpoints"].default == ""
    assert failpoints.enabled("") is None
    assert failpoints.enabled("  ") is None
    for name in ("transaction", "acquire"):
        assert "failpoint" not in inspect.getsource(getattr(Database, name))
    assert "points.database_class() if points else Database" in inspect.getsource(server)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_understood_is_refused_at_start(monkeypatch, text):
    """A misspelt one would make a test pass that tests nothing."""
    for name, value in {"DATABASE_URL": "postgresql://x", "FAILPOINTS": text}.items():
        monkeypatch.setenv(f"DEPLOYMENT_SERVICE_{name}", value)
    with pytest.raises(SettingsError, match="FAILPOINTS"):
        load_settings()
    assert settings_for(
        "postgresql://x", failpoints="provider.*=crash; commit.a.b.after=raise once"
    )


def test_enabling_is_logged_as_a_warning():
    with structlog.testing.capture_logs() as logs:
        failpoints.enabled("provider.trigger.after=crash")
    assert [(entry["log_level"], entry["points"]) for entry in logs] == [
        ("warning", ["provider.trigger.after"])
    ]


async def test_a_rule_acts_every_time_once_or_at_its_nth_time():
    rules = failpoints.enabled("provider.a=raise once; provider.b@2=raise; provider.c*=raise")
    assert rules is not None
    for point, expected in (("a", [1]), ("b", [2]), ("cc", [1, 2, 3]), ("d", [])):
        assert [time for time in (1, 2, 3) if await raises(rules, f"provider.{point}")] == expected


async def raises(rules, point):
    try:
        await rules.reach(point)
    except FailpointReached:
        return True
    return False


async def test_every_method_of_the_port_has_points_on_both_sides():
    class Client:
        def __getattr__(self, name: str) -> Any:
            async def method() -> str:
                return name

            return method

    for name in points.provider_points():
        rules = failpoints.enabled(f"{name}=raise")
        assert rules is not None
        client = rules.provider(cast(CicdProvider, Client()))
        with pytest.raises(FailpointReached):
            await getattr(client, name.split(".")[1])()


def test_the_list_is_made_from_the_code():
    """A new call of the port, a new transaction and a new statement are in it by themselves."""
    assert {"provider.trigger.before", "provider.trigger.after"} <= points.provider_points()
    source = """
class New:
    async def step(self):
        async def work(connection): ...
        await self._commit(run, work)

    async def _commit(self, run, work):
        await self._database.transaction(work)

async def other(database):
    await database.transaction(lambda c: c)
    async with database.acquire() as connection: ...
"""
    assert points.module_points("new", source) == {
        f"{kind}.new.{name}.{side}"
        for kind, name in (("commit", "New.step"), ("commit", "other"), ("statement", "other"))
        for side in ("before", "after")
    }
    with pytest.raises(ValueError, match="name the unit of work"):
        points.module_points("new", "async def f(d, g):\n    await d.transaction(g.work)")


def test_nobody_commits_beside_the_seam():
    """Connections of our own, beside ``Database``, would have commits without points."""
    commands = {"__main__.py"}  # run by hand, one statement each
    for path in (points.PACKAGE / one for one in points.modules() if one not in commands):
        imported = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        called = {ast.unparse(node.func) for node in imported}
        assert not called & {"asyncpg.connect", "asyncpg.create_pool", "Database.open"}, path


def test_the_points_that_the_tests_name_exist():
    """A name that a renaming has left behind would make a test that kills nothing."""
    every = points.provider_points() | points.database_points(elsewhere=True)
    named = {
        point
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != Path(__file__).name
        for point in NAMED.findall(path.read_text())
    }
    assert len(named) > 10
    assert named - every == set()
    sides = {name.rpartition(".")[0] for name in points.all_points()}
    assert set(test_kill_everywhere.NOT_REACHED) - sides == set()
    assert points.ELSEWHERE - set(points.modules()) == set()


def test_modules_in_folders_are_looked_through():
    """Each worker has a folder of its own."""
    folders = {name.partition("/")[2].partition("/")[0] for name in points.modules()}
    assert {"dispatcher", "reconciler", "job_provisioner"} <= folders
    for folder in ("dispatcher", "reconciler", "job_provisioner"):
        found = set[str]()
        for path in (points.PACKAGE / "workers" / folder).glob("*.py"):
            found |= points.module_points(path.stem, path.read_text())
        assert found
        assert found <= points.all_points()
