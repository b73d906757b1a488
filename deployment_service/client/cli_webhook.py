"""deployctl webhook: what a Jenkins job needs to report, and whether it would arrive."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Annotated, Any

import typer

from deployment_service.client import webhook_signatures
from deployment_service.client.cli_settings import CliError, of
from deployment_service.v1 import deployment_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Connect Jenkins jobs and try the connection.")

Name = Annotated[str, typer.Argument(help="The deployment: `web`.")]


@app.command("show")
def show(context: typer.Context, name: Name) -> None:
    """Print the job's webhook URL, the URL for signed reports and the signing secret. They are secrets."""
    job = _job(context, name)
    typer.echo(
        json.dumps(
            {
                "job_id": job.id,
                "webhook_url": job.webhook_url,
                "signed_url": _signed_url(job),
                "signing_secret": job.signing_secret,
            },
            indent=2,
        )
    )


@app.command("test")
def send_test(
    context: typer.Context,
    name: Name,
    url: Annotated[
        str, typer.Option(help="Where the gateway is, if not where Jenkins reaches it.")
    ] = "",
) -> None:
    """Send a signed test report through gateway and service. It changes nothing."""
    job = _job(context, name)
    target = url.rstrip("/") + "/" + _signed_url(job).split("/", 3)[3] if url else _signed_url(job)
    body = json.dumps({"jobId": job.id, "test": True}).encode()
    secret = webhook_signatures.from_text(job.signing_secret)
    headers = webhook_signatures.signed_headers(secret, uuid.uuid4().hex, int(time.time()), body)
    answer = _post(target, body, headers | {"Content-Type": "application/json"})
    if answer.get("verdict") != "TESTED":
        raise CliError(f"The gateway refused it: {answer.get('detail') or answer}")
    typer.echo(f"It works: reports of this job reach {answer['deployment']}.")


def _job(context: typer.Context, name: str) -> pb.CicdJob:
    deployment = of(context).run(lambda client: client.get_deployment(name))
    if not deployment.cicd_job.webhook_url:
        raise CliError(
            "There is no webhook URL: the key needs role definer, the provider a webhook_base_url."
        )
    return deployment.cicd_job


def _signed_url(job: pb.CicdJob) -> str:
    return f"{job.webhook_url.partition('?')[0]}?job={job.id}"


def _post(url: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{url} isn't a URL.")
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            said = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            said = json.load(error)
    except (OSError, ValueError) as error:
        raise CliError(
            f"The gateway can't be reached at {url.partition('?')[0]}: {error}"
        ) from None
    return dict(said)
