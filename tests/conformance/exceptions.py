"""Recordings that the simulator does not reproduce, and why; no more than a tenth of them."""

EXCEPTIONS: dict[str, str] = {}
