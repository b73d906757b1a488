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
# Files in which a word has another, usual meaning. The simulator's record of builds is a ledger.
ALLOWED = {
    "Ledger": re.compile(r"jenkins_simulator/|tests/chaos/|tests/acceptance/|devstack/"),
    # The name of a user on Unix.
    "nobody": re.compile(r"devstack/postgres\.py$"),
}

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

# Phrases in which data is a person, or which hide the subject. Matched as whole words, in any case.
PHRASES: Mapping[str, str] = {
    "anybody": "any caller, any process",
    "are told": "receive, read",
    "be told": "receive, read",
    "becomes of": "its result, its outcome",
    "believed": "trusted, applied",
    "believes": "reads, assumes",
    "came of it": "its outcome",
    "comes of it": "its outcome",
    "everybody": "all callers, all processes",
    "forgets": "drops, loses",
    "gave up": "dropped, stopped after its retries",
    "gives up": "drops, stops after its retries",
    "given up": "dropped, stopped after its retries",
    "heard": "received, observed",
    "hears": "receives, reads",
    "in vain": "without a result",
    "is away": "is unavailable",
    "is told": "receives, reads",
    "keeper": "job provisioner",
    "knows": "has, stores",
    "makes no sense": "is invalid, is malformed",
    "mend": "correct, repair",
    "mends": "corrects, repairs",
    "nobody": "no caller, no process",
    "poke": "refresh request",
    "poked": "refresh requested",
    "pokes": "refresh requests",
    "says": "has, contains, returns",
    "somebody": "a user, another replica",
    "store away": "store unavailable",
    "tells": "returns, names, has",
    "whoever": "the caller, the client, the process",
    "wish": "request",
    "wishes": "requests",
}
# Phrases are checked here. Add a folder once it is clean.
PHRASES_CHECKED_IN = re.compile(
    r"(?:protos|webhook_gateway|jenkins_simulator|devstack|tools|examples)/"
    r"|deployment_service/(?:actions|api|client|domain|runtime|storage|unit_of_work|watch|webhook_auth|workers)/|deployment_service/[^/]+\.py$|pyproject\.toml$"
)


def findings(name: str, text: str) -> Iterator[str]:
    """Yield ``path:line: word -> replacement`` for each replaced word in a file's text."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in _NAMES.finditer(line):
            if not _is_allowed(match[0], name):
                yield f"{name}:{number}: {match[0]} -> {NAMES[match[0]]}"
        if not PHRASES_CHECKED_IN.match(name):
            continue
        for match in _PHRASES.finditer(line):
            if not _is_allowed(match[0].lower(), name):
                yield f"{name}:{number}: {match[0]} -> {PHRASES[match[0].lower()]}"


def _is_allowed(word: str, name: str) -> bool:
    return word in ALLOWED and ALLOWED[word].match(name) is not None


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
