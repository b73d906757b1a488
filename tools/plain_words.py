"""Find replaced names and phrases in all files of the repository.

    python tools/plain_words.py

CONTRIBUTING.md has the style. ``NAMES`` are identifiers that have another name now; ``PHRASES`` are words for which
comments, docstrings, messages and pages have plainer ones. Exit code 1 if any is found.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = frozenset(
    (".py", ".pyi", ".md", ".proto", ".toml", ".yaml", ".yml", ".sh", ".mjs", ".ts")
)
# Recordings and old migrations are evidence; the changelog names what was replaced; generated code follows the protos.
EXCLUDED = re.compile(
    r"^(?:migrations/versions/|tests/conformance/recordings/|tests/upgrade/|tests/payloads/|deployment_service/v1/"
    r"|CHANGELOG\.md$|LICENSE$|tools/plain_words\.py$|tests/unit/test_plain_words\.py$)"
)
# The simulator's record of builds is a ledger in the usual sense.
ALLOWED = {"Ledger": re.compile(r"jenkins_simulator/|tests/chaos/|tests/acceptance/|devstack/")}

# Identifiers. Matched as whole names, upper and lower case distinguished.
NAMES: Mapping[str, str] = {
    "AWAY": "UNAVAILABLE_ERRORS",
    "DATABASE_AWAY": "DATABASE_UNAVAILABLE",
    "Finality": "CompletionWatcher",
    "JobKeeper": "JobProvisioner",
    "Knowledge": "BuildState",
    "Ledger": "RunUnitOfWork",
    "STORE_AWAY": "STORE_UNAVAILABLE",
    "Senseless": "InvalidReport",
    "Sighting": "BuildRef",
    "UNDECODABLE": "MALFORMED_REQUEST",
    "WATCH_GONE": "CLIENT_DISCONNECTED",
    "WATCH_NOT_READ": "SLOW_CONSUMER",
    "between_looks": "probe_interval",
    "between_looks_s": "probe_interval_s",
    "evicts": "evict",
    "from_word": "from_status_text",
    "give_up_build": "detach_build",
    "hurry": "retry_now",
    "keep_job": "provision_job",
    "look_count": "probe_count",
    "sort_out": "classify",
    "stop_repeat": "stop_duplicate",
    "takes_over": "reassign",
}

# Phrases of people. Matched as whole words, in any case.
PHRASES: Mapping[str, str] = {
    "store away": "store unavailable",
}


def findings(name: str, text: str) -> Iterator[str]:
    """Yield ``path:line: word -> replacement`` for each replaced word in a file's text."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in _NAMES.finditer(line):
            if match[0] not in ALLOWED or not ALLOWED[match[0]].match(name):
                yield f"{name}:{number}: {match[0]} -> {NAMES[match[0]]}"
        for match in _PHRASES.finditer(line):
            yield f"{name}:{number}: {match[0]} -> {PHRASES[match[0].lower()]}"


def _pattern(words: Mapping[str, str], flags: int = 0) -> re.Pattern[str]:
    # Longest first, so that a phrase that contains another one is found as a whole. An underscore in front only marks
    # a name as private.
    alternatives = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9_])", flags)


_NAMES = _pattern(NAMES)
_PHRASES = _pattern(PHRASES, re.IGNORECASE)


def scanned_files() -> list[str]:
    """Return the tracked files that are checked, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        name
        for name in listing.stdout.split("\0")
        if Path(name).suffix in SUFFIXES and EXCLUDED.search(name) is None
    ]


def main() -> int:
    """Print all findings; return the exit code."""
    found = [
        finding
        for name in scanned_files()
        if (ROOT / name).is_file()
        for finding in findings(name, (ROOT / name).read_text())
    ]
    for finding in found:
        print(finding)
    if found:
        print(
            f"{len(found)} replaced words. Write the plain word on the right; CONTRIBUTING.md has the style."
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
