"""Every recording is replayed, or is excepted with a reason; exceptions are few."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.exceptions import EXCEPTIONS
from tests.conformance.story import RECORDINGS
from tests.conformance.test_notifications import ordinary_recordings

HERE = Path(__file__).parent
# Folders of the first Jenkins end here.
_FIRST_JENKINS = "11"
_MOST_OF_THE_FIRST = 5


def test_every_recording_is_replayed():
    stories = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    builds = {f"06-notification-{version}/{name}.json" for version, name in ordinary_recordings()}
    missing = [
        name
        for name in all_names()
        if f'"{Path(name).stem}"' not in stories and name not in builds | set(EXCEPTIONS)
    ]
    assert missing == []


def test_no_exception_is_replayed_all_the_same():
    stories = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    assert [name for name in EXCEPTIONS if f'"{Path(name).stem}"' in stories] == []


def test_exceptions_are_few():
    assert set(EXCEPTIONS) <= set(all_names())
    first = [name for name in EXCEPTIONS if name < _FIRST_JENKINS]
    second = [name for name in all_names() if name >= _FIRST_JENKINS]
    assert len(first) <= _MOST_OF_THE_FIRST
    assert len(EXCEPTIONS) - len(first) <= len(second) / 10


def all_names() -> list[str]:
    """Every recording, as `folder/name.json`."""
    return sorted(str(path.relative_to(RECORDINGS)) for path in RECORDINGS.rglob("*.json"))
