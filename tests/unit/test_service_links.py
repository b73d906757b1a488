"""Variables that Kubernetes sets for Services never count as settings."""

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from deployment_service.config import DatabaseSettings, Settings, SettingsError, load_settings
from deployment_service.runtime.service_links import ignored_settings, is_service_link
from webhook_gateway.config import Settings as GatewaySettings

KEY = Fernet.generate_key().decode()
REQUIRED = {
    "DEPLOYMENT_SERVICE_DATABASE_URL": "postgresql://u:p@h/d",
    "DEPLOYMENT_SERVICE_SECRET_KEYS": KEY,
    "WEBHOOK_GATEWAY_API_KEY": "dsk_key",
}
LINK = "tcp://10.96.0.7:8080"
NAMES = [
    (settings, f"{settings.model_config['env_prefix']}{field.upper()}")
    for settings in (DatabaseSettings, Settings, GatewaySettings)
    for field in settings.model_fields
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LINK, True),
        ("udp://10.96.0.10:53", True),
        ("sctp://10.96.0.7:3868\n", True),
        ("tcp://[fd00:10:96::7]:443", True),
        ("tcp://host.example:1", True),
        ("8080", False),
        ("10.96.0.7:8080", False),
        ("http://10.96.0.7:8080", False),
        ("postgresql://u:p@h:5432/d", False),
        ("tcp://10.96.0.7", False),
        ("tcp://10.96.0.7:8080/path", False),
        ("", False),
    ],
)
def test_the_form_that_kubernetes_gives_its_values(value, expected):
    assert is_service_link(value) is expected


@pytest.mark.parametrize(("settings", "name"), NAMES, ids=[name for _, name in NAMES])
@pytest.mark.parametrize("value", [LINK, "udp://[fd00::1]:53"])
def test_every_setting_ignores_it_and_keeps_its_default(monkeypatch, settings, name, value):
    for required, usable in REQUIRED.items():
        monkeypatch.setenv(required, usable)
    expected = settings()
    monkeypatch.setenv(name, value)
    assert settings.ignored() == [name]
    if name in REQUIRED:
        with pytest.raises(ValidationError, match="Field required"):
            settings()
    else:
        assert settings() == expected


def test_a_required_setting_that_is_ignored_says_why_it_is_not_set(monkeypatch):
    monkeypatch.setenv("DEPLOYMENT_SERVICE_DATABASE_URL", LINK)
    monkeypatch.setenv("DEPLOYMENT_SERVICE_SECRET_KEYS", KEY)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "DEPLOYMENT_SERVICE_DATABASE_URL is not set" in str(caught.value)
    assert "DEPLOYMENT_SERVICE_DATABASE_URL is ignored" in str(caught.value)


@pytest.mark.parametrize(
    "service", ["webhook-gateway", "deployment-service", "deployment", "webhook"]
)
def test_what_kubernetes_sets_for_a_service_leaves_all_settings_as_they_are(monkeypatch, service):
    for name, usable in REQUIRED.items():
        monkeypatch.setenv(name, usable)
    expected = [settings() for settings in (Settings, GatewaySettings)]
    stem = service.upper().replace("-", "_")
    variables = {
        f"{stem}_SERVICE_HOST": "10.96.0.7",
        f"{stem}_SERVICE_PORT": "8080",
        f"{stem}_SERVICE_PORT_GRPC": "50051",
        f"{stem}_PORT": LINK,
        f"{stem}_PORT_8080_TCP": LINK,
        f"{stem}_PORT_8080_TCP_PROTO": "tcp",
        f"{stem}_PORT_8080_TCP_PORT": "8080",
        f"{stem}_PORT_8080_TCP_ADDR": "10.96.0.7",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [settings() for settings in (Settings, GatewaySettings)] == expected


def test_names_of_any_case_are_found():
    assert ignored_settings(["A_PORT"], {"a_port": LINK, "B_PORT": LINK}) == ["a_port"]
