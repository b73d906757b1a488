"""The check of replaced words finds each kind of them, and nothing else."""

import pytest

from tools import plain_words


def found(text: str, name: str = "deployment_service/actions/example.py") -> list[str]:
    return list(plain_words.findings(name, text))


@pytest.mark.parametrize(("word", "plain"), plain_words.NAMES.items())
def test_each_replaced_name_is_found_with_its_line_and_replacement(word: str, plain: str):
    assert found(f"first\nx = self._{word}(1)\n") == [
        f"deployment_service/actions/example.py:2: {word} -> {plain}"
    ]


@pytest.mark.parametrize(("phrase", "plain"), plain_words.PHRASES.items())
def test_each_replaced_phrase_is_found_in_any_case(phrase: str, plain: str):
    text = phrase.capitalize()
    assert found(f"# {text}.\n", "protos/a.proto") == [f"protos/a.proto:1: {text} -> {plain}"]


def test_phrases_are_checked_only_in_folders_without_them():
    assert found("# Whoever waits.\n", "webhook_gateway/app.py") != []
    assert found("# Whoever waits.\n", "deployment_service/api/auth.py") != []
    assert found("# Whoever waits.\n", "deployment_service/v1/a.py") == []


@pytest.mark.parametrize(
    "text", ["KnowledgeBase", "keep_jobs", "sightings", "ledger", "away", "FAR_AWAYS", "xhurry"]
)
def test_longer_names_and_other_cases_are_not_found(text: str):
    assert found(text) == []


def test_a_name_is_allowed_where_it_has_its_usual_meaning():
    assert found("class Ledger:", "jenkins_simulator/core/ledger.py") == []
    assert found("class Ledger:") != []


def test_evidence_and_the_table_itself_are_not_scanned():
    names = plain_words.scanned_files()
    assert "protos/deployment_service/v1/deployment_service.proto" in names
    assert "README.md" in names
    assert not {"CHANGELOG.md", "tools/plain_words.py", "tests/unit/test_plain_words.py"} & {*names}
    assert not [name for name in names if name.startswith("migrations/versions/")]
