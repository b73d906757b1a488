"""deployctl tenants, keys: for operators."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, cast

import typer

from deployment_service.client.cli import output as out
from deployment_service.client.cli.settings import CliError, of
from deployment_service.v1 import admin_service_pb2 as pb

tenants = typer.Typer(no_args_is_help=True, help="Manage tenants (admin).")
keys = typer.Typer(no_args_is_help=True, help="Manage API keys (admin).")


class RoleWord(StrEnum):
    """The roles, as one types them."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    DEFINER = "definer"
    GATEWAY = "gateway"
    ADMIN = "admin"


@tenants.command("create")
def create_tenant(
    context: typer.Context,
    tenant_id: Annotated[str, typer.Argument(help="Its id: `demo`.")],
    title: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Create a tenant."""
    settings = of(context)
    made = settings.run(lambda client: client.admin.create_tenant(tenant_id, display_name=title))
    if settings.as_json:
        out.json_line(made)
    else:
        out.console().print(f"Created {made.name}.")


@tenants.command("list")
def list_tenants(context: typer.Context) -> None:
    """List tenants."""
    settings = of(context)
    page = settings.run(lambda client: client.admin.list_tenants(page_size=500))
    if settings.as_json:
        for one in page.tenants:
            out.json_line(one)
        return
    rows = ((out.last(t.name), t.display_name, out.local_time(t.create_time)) for t in page.tenants)
    out.table(("TENANT", "TITLE", "CREATED"), rows, "There are no tenants.")


@keys.command("create")
def create_key(
    context: typer.Context,
    role: Annotated[RoleWord, typer.Option(help="What it may do.")],
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="For all tenants, not the one of --tenant.")
    ] = False,
    title: Annotated[str, typer.Option(help="What it is for: `status page`.")] = "",
) -> None:
    """Create an API key and print its secret: the only time it is shown."""
    settings = of(context)
    if not all_tenants and not settings.tenant:
        raise CliError("For which tenant? Give --tenant before the command, or --all-tenants.")
    made = settings.run(
        lambda client: client.admin.create_api_key(
            cast("pb.Role", pb.Role.Value(f"ROLE_{role.name}")),
            tenant="" if all_tenants else settings.tenant,
            display_name=title,
        )
    )
    if not made.secret:
        raise CliError(
            f"{made.api_key.name} was created, but the answer with its secret was lost. "
            f"Revoke it (deployctl keys revoke {out.last(made.api_key.name)}), then create another key."
        )
    if settings.as_json:
        out.json_line(made)
    else:
        typer.echo(made.secret)  # alone on stdout, so that it can be captured
        typer.echo(f"Created {made.api_key.name}. The secret won't be shown again.", err=True)


@keys.command("list")
def list_keys(context: typer.Context) -> None:
    """List API keys, newest first, without their secrets."""
    settings = of(context)
    page = settings.run(lambda client: client.admin.list_api_keys(page_size=500))
    if settings.as_json:
        for one in page.api_keys:
            out.json_line(one)
        return
    rows = (
        (
            out.last(one.name),
            pb.Role.Name(one.role).removeprefix("ROLE_").lower(),
            out.last(one.tenant) or "(all)",
            one.display_name,
            out.local_time(one.create_time),
            out.local_time(one.revoke_time),
        )
        for one in page.api_keys
    )
    out.table(("KEY", "ROLE", "TENANT", "TITLE", "CREATED", "REVOKED"), rows, "No keys.")


@keys.command("revoke")
def revoke_key(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The key, from `keys list`.")]
) -> None:
    """Revoke an API key."""
    settings = of(context)
    gone = settings.run(lambda client: client.admin.revoke_api_key(name))
    if settings.as_json:
        out.json_line(gone)
    else:
        out.console().print(f"Revoked {gone.name}.")
