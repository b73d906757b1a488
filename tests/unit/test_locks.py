"""Lock statements stand in one module, in lock order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deployment_service
from deployment_service.storage import locks

PACKAGE = Path(deployment_service.__file__).parent
LOCK = re.compile(r"\bFOR (?:NO KEY )?UPDATE\b(?!(?: OF \w+)? SKIP LOCKED)")
ORDER = ("store_epoch", "cicd_providers", "cicd_jobs", "deployment_runs", "deployments", "tenants")


@pytest.mark.parametrize(
    ("sql", "is_lock"),
    [
        ("SELECT FROM tenants FOR UPDATE", True),
        ("SELECT FROM tenants FOR NO KEY UPDATE\n", True),
        ("SELECT FROM cicd_jobs AS k LIMIT 1 FOR UPDATE OF k SKIP LOCKED", False),
        ("SELECT FROM cicd_jobs LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED", False),
    ],
)
def test_a_claim_of_work_is_no_lock(sql: str, is_lock: bool) -> None:
    assert bool(LOCK.search(sql)) is is_lock


def test_no_other_module_locks_rows() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path != Path(locks.__file__)]
    assert [str(path) for path in modules if LOCK.search(path.read_text())] == []


def test_the_statements_stand_in_lock_order() -> None:
    source = Path(locks.__file__).read_text()
    tables = [
        match[1]
        for match in re.finditer(r"FROM (\w+)(?=[^;]*?FOR (?:NO KEY )?UPDATE)", source)
        if match[1] in ORDER
    ]
    assert tables == sorted(tables, key=ORDER.index)
    assert set(tables) == set(ORDER)
