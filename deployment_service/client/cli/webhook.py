"""deployctl webhook: credentials with which a Jenkins job reports, and a test of the path to the service."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Annotated, Any

import typer

from deployment_service.client.cli import output as out
from deployment_service.client.cli.settings import CliError, of
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.webhook_auth import signatures

app = typer.Typer(no_args_is_help=True, help="Connect Jenkins jobs and try the connection.")

_MAX_ANSWER_BYTES = 64 * 1024

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
    secret = signatures.from_text(job.signing_secret)
    headers = signatures.signed_headers(secret, uuid.uuid4().hex, int(time.time()), body)
    answer = _post(target, body, headers | {"Content-Type": "application/json"})
    if answer.get("verdict") != "TESTED":
        raise CliError(f"The gateway refused it: {answer.get('detail') or answer}")
    typer.echo(f"It works: reports of this job reach {answer.get('deployment')}.")


@app.command("rotate")
def rotate(
    context: typer.Context,
    progress_of: Annotated[
        str, typer.Option("--progress-of", help="Make no key: show the progress of this rotation.")
    ] = "",
) -> None:
    """Make a new key for the tenant's webhooks and rewrite our jobs' endpoints (admin).

    The old keys stay valid until deployctl webhook retire.
    """
    settings = of(context)
    request_id = progress_of or str(uuid.uuid4())
    made = settings.run(lambda client: client.admin.rotate_webhook_secret(request_id=request_id))
    if settings.as_json:
        out.json_line(made)
        return
    write = out.console().print
    write(f"The newest key is {made.key_id}.")
    if made.rewriting_jobs:
        write(f"Still to be rewritten: {', '.join(made.rewriting_jobs)}")
        write(f"Its progress: deployctl webhook rotate --progress-of {request_id}")
    if made.other_jobs:
        write(
            "The service does not change these jobs. Give each its new URL or secret, which "
            "deployctl webhook show prints for its deployment:"
        )
        for job in made.other_jobs:
            write(f"  {job.job}")
    out.table(
        ("KEY", "MADE", "LAST SEEN", "JOBS USING IT"),
        (
            (
                key.key_id,
                out.local_time(key.create_time),
                out.local_time(key.last_seen_time) or "never",
                str(key.jobs_in_use),
            )
            for key in made.keys
        ),
        "",
    )


@app.command("retire")
def retire(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The key: `k1`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Although jobs use it: their reports will be refused.")
    ] = False,
) -> None:
    """Retire a key for webhooks: within about a minute no gateway accepts it (admin)."""
    settings = of(context)
    key = settings.run(lambda client: client.admin.retire_webhook_key(key_id, force=force))
    if settings.as_json:
        out.json_line(key)
    else:
        out.console().print(f"Retired {key.key_id}.")


def _job(context: typer.Context, name: str) -> pb.CicdJob:
    deployment = of(context).run(
        lambda client: client.get_deployment(name, show_signing_secret=True)
    )
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
    place = url.partition("?")[0]
    try:
        with _open(request) as answer:
            status, text = answer.status, answer.read(_MAX_ANSWER_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CliError(f"The gateway can't be reached at {place}: {error}") from None
    try:
        answered = json.loads(text)
    except ValueError:
        answered = None
    if not isinstance(answered, dict):
        # Usually the page of a proxy. Not quoted: it is long HTML.
        raise CliError(
            f"What answers at {place} isn't the gateway: HTTP {status} without the gateway's JSON. "
            "Is the address right, and does the proxy in front of it reach it?"
        )
    return answered


def _open(request: urllib.request.Request) -> Any:
    """Return the answer, with any HTTP status."""
    try:
        return urllib.request.urlopen(request, timeout=10)  # noqa: S310 - the caller has checked it
    except urllib.error.HTTPError as error:
        return error
