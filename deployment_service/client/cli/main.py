"""deployctl: create, run and watch deployments from a terminal or a script.

Exit codes: 0 done; 1 the run that was waited for failed or was cancelled; 2 the request is wrong;
3 the key is refused; 4 the state doesn't allow it (not found, exists already, run active …); 5 the
service can't be reached; 6 the run didn't end in time; 70 unexpected; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from deployment_service.runtime.extras import extra_required

with extra_required("deployctl", "cli"):
    import typer

    from deployment_service.client.cli import (
        admin,
        deployments,
        output,
        providers,
        runs,
        watch,
        webhook,
    )
    from deployment_service.client.cli.settings import (
        API_KEY,
        TARGET,
        TENANT,
        CliError,
        resolve,
    )

app = typer.Typer(
    name="deployctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Create, run and watch deployments.\n\n"
    f"Settings come from options or the environment: {TARGET}, {API_KEY}, {TENANT}. "
    "After `make run`: `deployctl --env-file .dev/env …`",
    epilog="Exit codes: 0 done, 1 run failed or cancelled, 2 wrong request, 3 key refused, "
    "4 not in this state, 5 service unavailable, 6 run not finished in time.",
)
app.add_typer(deployments.app, name="deployments")
app.command("run")(runs.run)
app.command("runs")(runs.runs)
app.command("cancel")(runs.cancel)
app.command("resolve")(runs.resolve)
app.command("explain")(runs.explain)
app.command("reports")(runs.reports)
app.command("events")(watch.events)
app.command("watch")(watch.watch)
app.add_typer(webhook.app, name="webhook")
app.add_typer(admin.tenants, name="tenants")
app.add_typer(providers.app, name="providers")
app.add_typer(admin.keys, name="keys")


@app.callback()
def settings(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Option(help=f"The service, host:port. [env: {TARGET}]")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help=f"The API key. [env: {API_KEY}]")] = None,
    tenant: Annotated[
        str | None, typer.Option(help=f"What short names are in: `demo`. [env: {TENANT}]")
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(help="Take settings from this file's KEY=value lines, not the environment."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object a line, for programs.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 10.0,
    use_proxy: Annotated[
        bool, typer.Option("--use-proxy", help="Reach the service by the environment's http_proxy.")
    ] = False,
) -> None:
    """What every command needs."""
    context.obj = resolve(
        target=target,
        api_key=api_key,
        tenant=tenant,
        env_file=env_file,
        as_json=as_json,
        timeout_s=timeout,
        use_proxy=use_proxy,
    )


def main() -> None:
    """The console script."""
    try:
        app(standalone_mode=True)
    except CliError as error:
        print(f"deployctl: {output.clean(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`).
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
