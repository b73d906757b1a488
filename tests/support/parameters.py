"""Parameter definitions for tests."""

from __future__ import annotations

from deployment_service.domain.parameter_definitions import DeclaredParameter


def strings(**defaults: str) -> tuple[DeclaredParameter, ...]:
    """Strings with these defaults."""
    return tuple(DeclaredParameter(name, default_value=value) for name, value in defaults.items())
