"""What signs webhooks: secrets of each job's own, and signatures as the library makes them."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from deployment_service.webhook_auth import signatures, tokens

JOB, OTHER_JOB, UID, OTHER_UID = (str(uuid.uuid4()) for _ in range(4))
KEY = b"k" * 32


def test_secrets_are_bound_to_tenant_job_and_key() -> None:
    """P6, P7: no two jobs share one, and a token doesn't give it away."""
    cases = ((UID, JOB, KEY), (UID, OTHER_JOB, KEY), (OTHER_UID, JOB, KEY), (UID, JOB, b"x" * 32))
    secrets = {signatures.job_secret(*case) for case in cases}
    assert len(secrets) == 4
    token = tokens.parse(tokens.mint(UID, JOB, "k1", KEY))
    assert token is not None
    assert token.mac not in secrets


def test_a_secret_survives_being_written_down() -> None:
    """P7: as people and other libraries take it."""
    text = signatures.as_text(KEY)
    assert signatures.from_text(f" {text}\n") == KEY
    assert base64.b64decode(text.removeprefix("whsec_")) == KEY


@given(st.text("abc-_", min_size=1), st.integers(0, 2**33), st.text())
def test_we_sign_as_the_library_does(delivery_id: str, timestamp: int, text: str) -> None:
    """P7: whatever is signed."""
    body = text.encode("utf-8", "replace")
    ours = signatures.signed_headers(KEY, delivery_id, timestamp, body)
    moment = datetime.fromtimestamp(timestamp, tz=UTC)
    assert ours["webhook-signature"] == Webhook(KEY).sign(delivery_id, moment, body.decode())
