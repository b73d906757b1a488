"""The version of the installed package, for `--version`."""

from __future__ import annotations

from importlib.metadata import version


def version_text(command: str) -> str:
    """Return the line that ``command --version`` prints."""
    return f"{command} {version('deployment-service')}"
