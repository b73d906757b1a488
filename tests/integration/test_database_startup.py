"""P10: what start-up, commands and a running service say of a database that they cannot use."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.postgres import EmbeddedPostgres
from tests.fixtures_stack import run_sql
from tests.support.api import SECRET_KEY, refused, running_api
from tests.support.processes import running

PREFIX = "DEPLOYMENT_SERVICE_"
PASSWORD = "sesame-31337"


def environment(database_url: str) -> dict[str, str]:
    return {
        f"{PREFIX}DATABASE_URL": database_url,
        f"{PREFIX}SECRET_KEYS": SECRET_KEY,
        f"{PREFIX}LISTEN": "127.0.0.1:0",
    }


@asynccontextmanager
async def login(postgres: EmbeddedPostgres, *grants: str) -> AsyncIterator[str]:
    """A login user of its own."""
    name = f"login_{uuid.uuid4().hex[:8]}"
    await run_sql(postgres.url(), f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    try:
        for grant in grants:
            await run_sql(postgres.url(), f"GRANT {grant} TO {name}")
        yield name
    finally:
        await run_sql(postgres.url(), f"DROP OWNED BY {name}; DROP ROLE {name}")


def as_user(url: str, user: str, password: str = PASSWORD) -> str:
    return f"postgresql://{user}:{password}@{url.partition('@')[2]}"


WRONG = {
    "a wrong password": lambda url, _: as_user(url, "postgres"),
    "a user that does not exist": lambda url, _: as_user(url, "nobody"),
    "a database that does not exist": lambda url, _: url.rpartition("/")[0] + "/missing",
    "a host that does not exist": lambda url, _: url.replace("127.0.0.1", "nowhere.invalid"),
    "a certificate that does not exist": lambda url, path: (
        f"{url}?sslmode=verify-full&sslrootcert={path / 'missing.pem'}"
    ),
    "a certificate that is none": lambda url, path: (
        f"{url}?sslmode=verify-ca&sslrootcert={path / 'garbage.pem'}"
    ),
    "a server without TLS": lambda url, _: f"{url}?sslmode=require",
    "a parameter that is none": lambda url, _: f"{url}?sslmode=sometimes",
    "a target that is none": lambda url, _: f"{url}?target_session_attrs=best",
}
NAMES = {
    "a wrong password": "refuses the user or the password",
    "a user that does not exist": "refuses the user or the password",
    "a database that does not exist": "does not exist",
    "a host that does not exist": "host of the database is not known",
    "a certificate that does not exist": "cannot be read",
    "a certificate that is none": "cannot be read",
    "a server without TLS": "does not offer TLS",
    "a parameter that is none": "not usable",
    "a target that is none": "not usable",
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("command", ["serve", "migrate"])
async def test_wrong_settings_end_it_with_a_line(
    database_url: str, tmp_path: Path, what: str, command: str
) -> None:
    (tmp_path / "garbage.pem").write_text("garbage")
    url = WRONG[what](database_url, tmp_path)
    async with running("-m", "deployment_service", command, env=environment(url)) as process:
        assert await process.ends(timeout_s=40) == 1
    assert NAMES[what] in process.text
    assert "DATABASE_URL" in process.text
    assert "Traceback" not in process.text
    assert PASSWORD not in process.text
    assert url.partition("//")[2].partition("@")[0].partition(":")[2] not in process.text


@pytest.mark.parametrize("granted", [(), ("deployment_api",), ("deployment_worker",)])
async def test_a_missing_membership_is_named_with_the_statement_that_grants_it(
    database_url: str, postgres: EmbeddedPostgres, granted: tuple[str, ...]
) -> None:
    async with login(postgres, *granted) as user:
        env = environment(as_user(database_url, user))
        async with running("-m", "deployment_service", "serve", env=env) as process:
            assert await process.ends() == 1
        missing = sorted({"deployment_api", "deployment_worker"} - set(granted))
        assert f'GRANT {", ".join(missing)} TO "{user}";' in process.text
        assert "Traceback" not in process.text


async def test_a_member_without_inheritance_can_serve(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    async with login(postgres) as user:
        await run_sql(
            postgres.url(),
            f"GRANT deployment_api, deployment_worker TO {user} WITH INHERIT FALSE",
        )
        async with running_api(as_user(database_url, user)) as api:
            await api.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
            )


async def test_a_rotated_password_costs_unavailable_and_a_few_lines(
    database_url: str, postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """P10: no INTERNAL, no traceback; it recovers by itself once the password fits."""
    async with login(postgres, "deployment_api", "deployment_worker") as user:
        async with running_api(as_user(database_url, user)) as api:
            await run_sql(postgres.url(), f"ALTER ROLE {user} PASSWORD 'another'")
            await run_sql(
                postgres.url(),
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",
            )
            capsys.readouterr()
            request = pb.ListDeploymentsRequest(parent="tenants/demo")
            for _ in range(50):
                async with refused() as refusals:
                    await api.deployments.ListDeployments(request, metadata=api.as_admin)
                assert refusals[0].reason == "DATABASE_UNAVAILABLE"
            await asyncio.sleep(2)  # so long the workers try again and again
            said = capsys.readouterr().out
            assert "Traceback" not in said
            assert "refuses the user or the password" in said
            assert PASSWORD not in said
            others = [line for line in said.splitlines() if "method=" not in line]
            assert len(others) < 25, "\n".join(others)
            await run_sql(postgres.url(), f"ALTER ROLE {user} PASSWORD '{PASSWORD}'")
            async with asyncio.timeout(10):
                while True:
                    async with refused() as refusals:
                        await api.deployments.ListDeployments(request, metadata=api.as_admin)
                    if refusals[0].reason != "DATABASE_UNAVAILABLE":
                        break
            assert refusals[0].reason == "TENANT_NOT_FOUND"


@pytest.mark.parametrize(
    "revoked",
    [
        "REVOKE SELECT ON deployments FROM deployment_api",
        "REVOKE USAGE ON SCHEMA public FROM deployment_api, PUBLIC",
    ],
)
async def test_a_missing_privilege_is_named_with_its_remedy(
    database_url: str, capsys: pytest.CaptureFixture[str], revoked: str
) -> None:
    async with running_api(database_url) as api:
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        capsys.readouterr()
        await run_sql(database_url, revoked)
        async with refused() as refusals:
            await api.deployments.ListDeployments(
                pb.ListDeploymentsRequest(parent="tenants/demo"), metadata=api.as_admin
            )
        assert refusals[0].reason == "DATABASE_UNAVAILABLE"
        said = capsys.readouterr().out
        assert "deployment-service migrate" in said
        assert "Traceback" not in said
