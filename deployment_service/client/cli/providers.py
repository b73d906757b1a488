"""deployctl providers: a tenant's Jenkinses, for operators."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

from deployment_service.client.cli import output as out
from deployment_service.client.cli.settings import CliError, of, secret
from deployment_service.v1 import admin_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Manage a tenant's Jenkinses (admin).")

CHECK_FAILED = 4
_ERROR = pb.ProviderFinding.SEVERITY_ERROR


class ReportingWord(StrEnum):
    """How results are learned, as one types it."""

    AUTO = "auto"
    WEBHOOK = "webhook"
    POLLING = "polling"


ProviderId = Annotated[str, typer.Argument(help="Its id: `main`.")]
User = Annotated[str, typer.Option(help="The account there.")]
Token = Annotated[
    str,
    typer.Option(
        envvar="JENKINS_API_TOKEN", help="Its API token; better given by the environment."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(help="PEM file with the CA that signed Jenkins' certificate, if it is private."),
]
WebhookUrl = Annotated[
    str, typer.Option(help="Where this Jenkins reaches the gateway. Empty: it is polled.")
]
Reporting = Annotated[ReportingWord, typer.Option(help="How results are learned.")]
JobFolder = Annotated[str, typer.Option(help="The folder to make jobs in.")]


@app.command("create")
def create_provider(
    context: typer.Context,
    provider_id: ProviderId,
    url: Annotated[str, typer.Option(help="Jenkins' URL: `https://jenkins.internal/`.")],
    user: User = "",
    token: Token = "",
    ca_file: CaFile = None,
    webhook_base_url: WebhookUrl = "",
    reporting: Reporting = ReportingWord.AUTO,
    job_folder: JobFolder = "",
    title: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Create a provider: a Jenkins, and the account to use there. Its settings are tried out."""
    settings = of(context)
    provider = _provider(url, user, token, ca_file, webhook_base_url, reporting, job_folder)
    provider.display_name = title
    made = settings.run(lambda client: client.admin.create_checked_provider(provider_id, provider))
    if settings.as_json:
        out.json_line(made.provider)
        return
    out.console().print(f"Created {made.provider.name} for {made.provider.base_url}.")
    serious = [one for one in made.findings if one.severity != pb.ProviderFinding.SEVERITY_INFO]
    if serious:
        _print(serious)


@app.command("check")
def check_provider(
    context: typer.Context,
    provider_id: ProviderId,
    url: Annotated[
        str, typer.Option(help="Check these settings instead of the stored ones: Jenkins' URL.")
    ] = "",
    user: User = "",
    token: Token = "",
    ca_file: CaFile = None,
    webhook_base_url: WebhookUrl = "",
    reporting: Reporting = ReportingWord.AUTO,
    job_folder: JobFolder = "",
) -> None:
    """Try out a provider: its Jenkins, account, permissions. Changes nothing. Exits with 4 on an error."""
    settings = of(context)
    provider = None
    if url:
        provider = _provider(url, user, token, ca_file, webhook_base_url, reporting, job_folder)
    elif user or ca_file or webhook_base_url or job_folder:
        raise CliError("Give --url with these options: together they are the settings to check.")
    answer = settings.run(lambda client: client.admin.check_provider(provider_id, provider))
    if settings.as_json:
        out.json_line(answer)
    else:
        _print(answer.findings)
    if any(one.severity == _ERROR for one in answer.findings):
        raise typer.Exit(CHECK_FAILED)


@app.command("list")
def list_providers(context: typer.Context) -> None:
    """List the tenant's providers."""
    settings = of(context)
    page = settings.run(lambda client: client.admin.list_providers(page_size=500))
    if settings.as_json:
        for one in page.providers:
            out.json_line(one)
        return
    rows = (
        (
            out.last(one.name),
            one.base_url,
            one.username,
            pb.Reporting.Name(one.reporting).removeprefix("REPORTING_").lower(),
            one.webhook_base_url,
            out.problem_text(one.observation_problem)
            if one.HasField("observation_problem")
            else "",
        )
        for one in page.providers
    )
    columns = ("PROVIDER", "URL", "USER", "REPORTING", "WEBHOOKS TO", "PROBLEM")
    out.table(columns, rows, "No providers.")


def _provider(
    url: str,
    user: str,
    token: str,
    ca_file: Path | None,
    webhook_base_url: str,
    reporting: ReportingWord,
    job_folder: str,
) -> pb.Provider:
    token = secret(token, "JENKINS_API_TOKEN")
    if bool(user) != bool(token):
        raise CliError("Give both --user and --token (or JENKINS_API_TOKEN), or neither.")
    return pb.Provider(
        base_url=url,
        username=user,
        api_token=token,
        ca_certificate_pem=_read(ca_file) if ca_file else "",
        reporting=cast("pb.Reporting", pb.Reporting.Value(f"REPORTING_{reporting.name}")),
        webhook_base_url=webhook_base_url,
        job_folder=job_folder,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CliError(f"Can't read {path}: {reason}.") from None


def _print(findings: Iterable[pb.ProviderFinding]) -> None:
    """Print findings as a table, then how many are errors."""
    listed = list(findings)
    rows = [
        (
            out.enum_name(pb.ProviderFinding.Severity, one.severity, "SEVERITY_"),
            out.enum_name(pb.ProviderFinding.Kind, one.kind, "KIND_").replace("_", " "),
            one.field,
            one.message,
        )
        for one in listed
    ]
    out.table(("SEVERITY", "ABOUT", "SETTING", "FINDING"), rows, "Nothing was found.")
    counted = sum(1 for one in listed if one.severity == _ERROR)
    out.console().print(
        f"{counted} error{'' if counted == 1 else 's'}." if counted else "No errors."
    )
