"""A clear error for a command whose extra is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_OURS = ("deployment_service", "webhook_gateway")


@contextlib.contextmanager
def extra_required(command: str, extra: str) -> Iterator[None]:
    """Exit 2 with an install hint if an import inside the block does not find a package.

    A missing module of this project is a defect and raises as usual.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in _OURS:
            raise
        sys.stderr.write(
            f"{command}: the package {package!r} is not installed. "
            f"Install what this command needs: pip install 'deployment-service[{extra}]'\n"
        )
        sys.exit(2)
