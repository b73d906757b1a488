"""What the tests of deploy/ share: strict YAML, environment files, and which settings and commands exist."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployment_service import config as service_config
from deployment_service.__main__ import _parser
from deployment_service.runtime.settings_source import EnvironmentSettings
from webhook_gateway import config as gateway_config

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS: dict[str, type[EnvironmentSettings]] = {
    service_config.PREFIX: service_config.Settings,
    gateway_config.PREFIX: gateway_config.Settings,
}


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key that stands twice in a mapping is an error, not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"twice: {', '.join(twice)}", node.start_mark
            )
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[dict[str, Any]]:
    """Return the mappings of a YAML stream, without empty documents. Raises ``yaml.YAMLError``."""
    return [one for one in yaml.load_all(text, Loader=_StrictLoader) if one is not None]


def interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    """Return ``node`` with its texts as Compose interpolates them, which it does after parsing the YAML.

    Raises KeyError for a variable that must be set and is not.
    """

    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1], match[2] or "", match[3] or ""
        if variables.get(name) or (name in variables and not operator.startswith(":")):
            return variables[name]
        if operator in ("?", ":?"):
            raise KeyError(f"{name}: {word}")
        return word

    if isinstance(node, dict):
        return {key: interpolated(one, variables) for key, one in node.items()}
    if isinstance(node, list):
        return [interpolated(one, variables) for one in node]
    if isinstance(node, str):
        return re.sub(r"\$\{(\w+)(:?[-?])?([^}]*)\}", value, node)
    return node


def env_file(text: str) -> dict[str, str]:
    """Return the variables of a file of ``NAME=value`` lines and ``#`` comments. Raises ValueError."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Z][A-Z0-9_]*)=(.*)", line)
        if match is None or match[1] in values:
            raise ValueError(f"no variable, or one that stands there twice: {line}")
        values[match[1]] = match[2]
    return values


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that look like settings of ours and are none."""
    known = {
        prefix + field.upper()
        for prefix, settings in SETTINGS.items()
        for field in settings.model_fields
    }
    return sorted(name for name in names if name.startswith(tuple(SETTINGS)) and name not in known)


def is_secret(name: str) -> bool:
    """Return whether the setting of this name is one that holds a secret."""
    for prefix, settings in SETTINGS.items():
        field = settings.model_fields.get(name.removeprefix(prefix).lower())
        if name.startswith(prefix) and field is not None:
            return "SecretStr" in repr(field.annotation)
    return False


def check_settings(prefix: str, values: Mapping[str, str], patch: pytest.MonkeyPatch) -> Any:
    """Return the settings that a process gets from exactly ``values``. Raises ``pydantic.ValidationError``."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(tuple(SETTINGS)):
            patch.delenv(name)
    for name, value in values.items():
        patch.setenv(name, value)
    return SETTINGS[prefix]()


def writes_temporary_files(package: str) -> bool:
    """Return whether a process of this package makes temporary files: then it needs a /tmp that can be written to."""
    sources = [
        path
        for path in (ROOT / package).rglob("*.py")
        if "client" not in path.relative_to(ROOT).parts
    ]
    assert sources, package
    return any(re.search(r"^\s*(import|from) tempfile", one.read_text(), re.M) for one in sources)


def command_problem(command: list[str]) -> str | None:
    """Return why this command line of ours does not exist, or None."""
    match command:
        case ["deployment-service", *arguments]:
            errors = io.StringIO()
            try:
                with contextlib.redirect_stderr(errors):
                    _parser().parse_args(arguments)
            except SystemExit:
                return errors.getvalue().strip()
        case ["webhook-gateway"]:
            pass
        case _:
            return f"not a command of ours: {command}"
    return None
