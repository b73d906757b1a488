"""docs/architecture.md is the map: its folders, files and tests exist, and no folder is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TEXT = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
FILES = re.findall(r"`([\w./-]+\.(?:py|proto|pml|toml|md))`", TEXT)
FOLDERS = re.findall(r"`([\w./-]+/)`", TEXT)
# The most files that a newcomer should have to read for an answer.
MOST = {
    "Why is UNSTABLE a failure?": 2,
    "How is a webhook token verified?": 4,
    "How is it rotated?": 4,
    "What happens when Jenkins answers 500 to a trigger?": 4,
    "What does a new field of a deployment touch?": 6,
}


def exists(path: str) -> bool:
    return (ROOT / path).exists() or (ROOT / "deployment_service" / path).exists()


def sections() -> dict[str, str]:
    parts = re.split(r"^##+ (.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_file_and_folder_exists():
    assert len(FILES) > 60
    assert [path for path in (*FILES, *FOLDERS) if not exists(path)] == []


def test_every_folder_of_ours_is_on_the_map():
    listed = set(re.findall(r"`([\w./-]+)/`", sections()["Folders"]))
    packages = {
        path.name
        for path in (ROOT / "deployment_service").iterdir()
        if (path / "__init__.py").exists()
    }
    assert packages <= listed
    stories = {
        f"workers/{path.parent.name}"
        for path in (ROOT / "deployment_service" / "workers").glob("*/__init__.py")
    }
    assert stories <= listed
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"deployment_service"}
    assert top <= listed


def test_every_promise_has_tests_that_exist():
    rows = re.findall(
        r"^\| (P\d+) [^|]*\|[^|]*\|([^|]*)\|$", sections()["Invariants"], re.MULTILINE
    )
    assert [promise for promise, _ in rows] == [f"P{number}" for number in range(1, 11)]
    existing = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for promise, cell in rows:
        named = set(re.findall(r"`(test_\w+)`", cell))
        assert len(named) >= 2, promise
        assert named <= existing, promise


@pytest.mark.parametrize("question", MOST)
def test_an_answer_takes_few_files(question: str):
    rows = {
        row[0]: row[1:]
        for row in re.findall(
            r"^\| ([^|]+\?) \| (.+) \| (\d*) ?\|$",
            sections()["Questions of a newcomer"],
            re.MULTILINE,
        )
    }
    cell, count = rows[question]
    files = re.findall(r"`([\w./-]+(?:\.\w+|/))`", cell)
    assert len(set(files)) == int(count) <= MOST[question]
    assert all(exists(one) for one in files)


def test_only_the_server_chooses_the_provider():
    naming = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "deployment_service").rglob("*.py")
        if "cicd/jenkins" not in str(path) and "JenkinsProvider" in path.read_text()
    }
    assert naming == {"deployment_service/server.py"}
