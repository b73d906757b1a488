"""Run the shell parts of docs/how-to/connect-jenkins.md and `deployctl webhook` as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from deployment_service.webhook_auth import signatures
from devstack.stack import DevStack
from tests.support.webhooks import Hook, fingerprint, hook_of, show_builds

DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "connect-jenkins.md"
SNIPPETS = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)


async def run(*command: str, env: dict[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def step(hook: Hook, status: str, **env: str) -> tuple[int, str]:
    values = {
        "JOB_ID": hook.job_id,
        "STATUS": status,
        "BUILD_NUMBER": "1",
        "SIGNING_SECRET": signatures.as_text(hook.secret),
        "SIGNED_URL": hook.signed_url,
    }
    return await run("sh", "-e", "-c", SNIPPETS[1], env=values | env)


@pytest.mark.timeout(120)
async def test_the_documents_snippets_and_deployctl_work(stack: DevStack) -> None:
    """P7: the URL can be tried, a step can sign with curl and openssl, and a test changes nothing."""
    assert len(SNIPPETS) == 2
    assert shutil.which("curl") and shutil.which("openssl"), "the snippets need curl and openssl"  # noqa: PT018
    async with stack.client() as client:
        hook = await hook_of(client, stack, "web")
        code, said = await run("sh", "-e", "-c", SNIPPETS[0], env={"WEBHOOK_URL": hook.url})
        assert (code, json.loads(said)["job"]) == (0, hook.job_id)
        before = await fingerprint(stack, hook)
        settings = {
            "DEPLOYMENT_SERVICE_TARGET": stack.target,
            "DEPLOYMENT_API_KEY": stack.api_key,
            "DEPLOYMENT_TENANT": stack.tenant,
        }
        ctl = (sys.executable, "-m", "deployment_service.client.cli.main", "webhook")
        code, said = await run(*ctl, "test", "web", env=settings)
        assert (code, said.strip()) == (
            0,
            "It works: reports of this job reach tenants/demo/deployments/web.",
        )
        code, said = await run(*ctl, "show", "web", env=settings)
        assert json.loads(said)["signed_url"] == hook.signed_url
        assert await fingerprint(stack, hook) == before
        await show_builds(stack, hook, 1)
        code, said = await step(hook, "SUCCESS")
        assert (code, json.loads(said)["status"]) == (0, "completed"), said
        code, said = await step(hook, "SUCCESS", SIGNING_SECRET="whsec_AAAA")
        assert code != 0
        assert "401" in said
