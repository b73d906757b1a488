"""Secrets from the environment: what files and shells add is removed, what can't be a key is named."""

import pytest
from cryptography.fernet import Fernet

from deployment_service.client.client import DeploymentClient
from deployment_service.config import Settings
from deployment_service.runtime.secret_text import clean_secret

KEY = "dsk_abcDEF-_123"


@pytest.mark.parametrize(
    "text",
    [KEY, f"{KEY}\n", f"\r\n{KEY}\r\n", f"\t{KEY} ", f"\ufeff{KEY}\n", f'"{KEY}"', f"' {KEY}'\n"],
)
def test_what_surrounds_a_secret_is_removed(text):
    assert clean_secret(text) == KEY


@pytest.mark.parametrize("text", ["", "\n", " \ufeff ", '""'])
def test_an_empty_secret_is_empty(text):
    assert clean_secret(text) == ""


@pytest.mark.parametrize(
    "inner", ["\n", "\r", " ", "\0", "\x7f", "é", "\u200b", "\u2028", "\ud800"]
)
def test_a_character_that_no_header_carries_is_named_without_the_secret(inner):
    with pytest.raises(ValueError, match=f"character 3 is U\\+{ord(inner):04X}") as caught:
        clean_secret(f"ab{inner}cd")
    assert "cd" not in str(caught.value).split("which")[0]


def test_the_services_secrets_lose_their_line_ends(monkeypatch):
    first, second = (Fernet.generate_key().decode() for _ in range(2))
    monkeypatch.setenv("DEPLOYMENT_SERVICE_DATABASE_URL", "\ufeffpostgresql://u:p@h/d\n")
    monkeypatch.setenv("DEPLOYMENT_SERVICE_SECRET_KEYS", f'"{first}"\n,\r\n{second}\n')
    settings = Settings()
    assert settings.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert [key.get_secret_value() for key in settings.secret_keys] == [first, second]


async def test_a_client_takes_a_key_with_a_line_end_and_refuses_one_with_two_lines():
    async with DeploymentClient("127.0.0.1:1", api_key=f"{KEY}\n") as client:
        assert client._caller.metadata == (("authorization", f"Bearer {KEY}"),)
    with pytest.raises(ValueError, match=r"U\+000A"):
        DeploymentClient("127.0.0.1:1", api_key=f"{KEY}\n{KEY}")
