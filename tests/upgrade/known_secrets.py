"""The keys behind ``first_schema.sql``: anybody may derive them, and nothing else is protected by them."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode


def _derived(purpose: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(f"upgrade test: {purpose}".encode()).digest()).decode()


SECRET_KEY = _derived("secrets at rest")
VIEWER_KEY = "dsk_" + _derived("viewer").rstrip("=")
