"""Secrets at rest: encrypted with the first of the configured keys, read with any of them."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretUnreadableError(Exception):
    """A stored secret was encrypted with a key that is not configured."""


class SecretBox:
    """Encrypts and decrypts. To rotate, put a new key first and keep the old ones behind it."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take Fernet keys (32 random bytes in base64url). Raises ``ValueError`` if one is malformed."""
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: bytes) -> bytes:
        """Encrypt with the first key."""
        return self._fernet.encrypt(secret)

    def decrypt(self, encrypted: bytes) -> bytes:
        """Decrypt with any of the keys. Raises ``SecretUnreadableError`` if none fits."""
        try:
            return self._fernet.decrypt(encrypted)
        except InvalidToken:
            raise SecretUnreadableError(
                "a stored secret cannot be decrypted with any of DEPLOYMENT_SERVICE_SECRET_KEYS"
            ) from None


def generate_key() -> str:
    """Return a new key for DEPLOYMENT_SERVICE_SECRET_KEYS."""
    return Fernet.generate_key().decode()
