"""The pages: links resolve, paths of files exist, and README leads to each page with a phrase about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINKING = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "jenkins_simulator" / "README.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# A path of a file in backticks, with the function or test that may follow it.
PATH = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|proto|pml|yml|sh|mjs|txt|md))(?:[: ][^`]*)?`")
# Where a short path may begin: pages about one package leave out its folder.
BASES = (
    "",
    "deployment_service",
    "webhook_gateway",
    "jenkins_simulator",
    "tests",
    "protos/deployment_service/v1",
    "deployment_service/cicd",
    "deployment_service/cicd/jenkins",
    "deployment_service/storage",
)
# Files of others: of a user's repository, or made by a command.
NOT_OURS = {"report.sh", "first.py"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(prose(page))
    }


def exists(path: str, page: Path) -> bool:
    if (page.parent / path).exists() or any((ROOT / base / path).exists() for base in BASES):
        return True
    # A page may name a test or a module by its file name alone, if there is only one.
    return "/" not in path and bool(
        [
            found
            for folder in ("deployment_service", "webhook_gateway", "jenkins_simulator", "tests")
            for found in (ROOT / folder).rglob(path)
        ]
    )


def test_there_are_pages_of_each_kind():
    assert {name(page).split("/")[1] for page in PAGES} >= {"how-to", "reference", "explanation"}


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_relative_links_resolve(page: Path):
    broken = []
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_named_files_exist(page: Path):
    missing = {
        path
        for path in PATH.findall(prose(page))
        if path not in NOT_OURS and not exists(path, page)
    }
    assert missing == set()


def test_the_readme_links_every_page_with_a_phrase():
    text = (ROOT / "README.md").read_text()
    linked = dict(re.findall(r"^\* \[[^\]]+\]\(([^)]+)\): (\S.*\S)$", text, re.MULTILINE))
    assert set(linked) >= {name(page) for page in PAGES}
    assert all(len(phrase.split()) >= 3 for phrase in linked.values())


def test_the_readme_has_two_commands():
    first = (ROOT / "README.md").read_text().partition("```sh\n")[2].partition("```")[0]
    assert [line.split(" #")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`domain/status.py`", ["domain/status.py"]),
        ("`domain/runs.py: order_key`", ["domain/runs.py"]),
        ("`no file` and `word`", []),
        ("`protos/*.proto`", []),
        ("`actions/report.py` → `actions/observe.py`", ["actions/report.py", "actions/observe.py"]),
    ],
)
def test_what_counts_as_a_path(text: str, found: list[str]):
    assert PATH.findall(text) == found
