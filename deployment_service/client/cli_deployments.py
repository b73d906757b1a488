"""deployctl deployments …, run, runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.text import Text

from deployment_service.client import cli_output as out
from deployment_service.client.cli_settings import RUN_FAILED, CliError, of, pairs
from deployment_service.client.client import DeploymentClient
from deployment_service.client.waiting import FINAL
from deployment_service.v1 import deployment_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="List, create, show and delete deployments.")

Name = Annotated[str, typer.Argument(help="The deployment: `web`, or its full name.")]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated."),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", help="Only this status: running, failed …; may be repeated."),
]


@app.command("list")
def list_deployments(
    context: typer.Context,
    status: Statuses = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this label.")
    ] = None,
    provider: Annotated[str, typer.Option(help="Only of this provider.")] = "",
) -> None:
    """List deployments."""
    settings = of(context)
    statuses, labels = _statuses(status), pairs(label or (), "--label")

    async def work(client: DeploymentClient) -> list[pb.Deployment]:
        found = client.deployments(statuses=statuses, labels=labels, provider=provider)
        return [one async for one in found]

    deployments = settings.run(work)
    if settings.as_json:
        for one in deployments:
            out.json_line(one)
        return
    out.table(
        ("DEPLOYMENT", "STATUS", "RUN", "JOB", "CHANGED"),
        (
            (
                out.last(one.name),
                out.status_text(one.status),
                out.last(one.current_run),
                one.cicd_job.name,
                out.local_time(one.update_time),
            )
            for one in deployments
        ),
        "There are no deployments (that match).",
    )


@app.command("get")
def get_deployment(context: typer.Context, name: Name) -> None:
    """Show one deployment."""
    settings = of(context)
    one = settings.run(lambda client: client.get_deployment(name))
    if settings.as_json:
        out.json_line(one)
        return
    job = one.cicd_job
    lines: list[tuple[str, str | Text]] = [
        ("name", one.name),
        ("title", one.display_name),
        ("status", out.status_text(one.status)),
        ("current run", one.current_run),
        ("last completed", one.last_completed_run),
        ("provider", one.provider),
        ("job", f"{job.name}  {job.url}"),
        ("job state", _job_state(job)),
        ("parameters", ", ".join(f"{k}={v}" for k, v in sorted(one.parameters.items()))),
        ("labels", ", ".join(f"{k}={v}" for k, v in sorted(one.labels.items()))),
        ("created", out.local_time(one.create_time)),
        ("changed", out.local_time(one.update_time)),
        ("webhook", job.webhook_url),
    ]
    out.table(("", ""), ((key, value) for key, value in lines if value), "")


@app.command("create")
def create_deployment(
    context: typer.Context,
    deployment_id: Annotated[str, typer.Argument(help="Its id: `web-prod`.")],
    provider: Annotated[str, typer.Option(help="The provider: `main`.")] = "main",
    shell: Annotated[str, typer.Option(help="Make a freestyle job with this shell step.")] = "",
    pipeline: Annotated[
        Path | None,
        typer.Option(help="Make a Pipeline with this Jenkinsfile.", exists=True, dir_okay=False),
    ] = None,
    scm: Annotated[str, typer.Option(help="Make a Pipeline from this Git repository.")] = "",
    branch: Annotated[str, typer.Option(help="Its branch; `main` if not given.")] = "",
    script_path: Annotated[str, typer.Option(help="Its Jenkinsfile's path.")] = "",
    credentials_id: Annotated[str, typer.Option(help="Jenkins' credential for it.")] = "",
    existing: Annotated[str, typer.Option(help="Adopt this job: `shop/web`.")] = "",
    config_xml: Annotated[
        Path | None,
        typer.Option(help="Make a job of this config.xml (admins).", exists=True, dir_okay=False),
    ] = None,
    job_name: Annotated[str, typer.Option(help="Full name of the job to make.")] = "",
    param: Param = None,
    fixed_param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="With --existing: sent with every run."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; may be repeated.")
    ] = None,
    title: Annotated[str, typer.Option(help="For people: `Web shop, production`.")] = "",
    unstable_is_success: Annotated[
        bool, typer.Option("--unstable-is-success", help="UNSTABLE builds complete it.")
    ] = False,
) -> None:
    """Create a deployment and its job (exactly one of --shell, --pipeline, --scm, --existing, --config-xml)."""
    if sum(map(bool, (shell, pipeline, scm, existing, config_xml))) != 1:
        raise CliError("Give exactly one of --shell, --pipeline, --scm, --existing, --config-xml.")
    job = pb.DeploymentJob(full_name=job_name)
    if shell:
        job.freestyle_shell = shell
    elif pipeline:
        job.pipeline_script = pipeline.read_text()
    elif config_xml:
        job.config_xml = config_xml.read_text()
    elif scm:
        job.pipeline_scm.url, job.pipeline_scm.branch = scm, branch
        job.pipeline_scm.script_path = script_path
        job.pipeline_scm.credentials_id = credentials_id
    else:
        job.existing_job.full_name = existing
        job.existing_job.fixed_parameters.update(pairs(fixed_param or (), "--fixed-param"))
    definition = pb.Deployment(
        display_name=title,
        provider=provider,
        job=job,
        parameters=pairs(param or (), "--param"),
        labels=pairs(label or (), "--label"),
        unstable_policy=pb.UNSTABLE_POLICY_COMPLETED
        if unstable_is_success
        else pb.UNSTABLE_POLICY_UNSPECIFIED,
    )
    settings = of(context)
    made = settings.run(lambda client: client.create_deployment(deployment_id, definition))
    if settings.as_json:
        out.json_line(made)
        return
    one = made.deployment
    out.console().print(f"Created {one.name}; job {one.cicd_job.name}: {_job_state(one.cicd_job)}")
    out.console().print(f"Run it: deployctl run {out.last(one.name)} --wait")


@app.command("delete")
def delete_deployment(
    context: typer.Context,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Even while a run is active.")] = False,
) -> None:
    """Delete a deployment, with its job if we made that."""
    settings = of(context)
    gone = settings.run(lambda client: client.delete_deployment(name, force=force))
    if settings.as_json:
        out.json_line(gone)
    else:
        out.console().print(f"Deleted {name}.")


def run(
    context: typer.Context,
    name: Name,
    param: Param = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end; exit code 1 if it fails.")
    ] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(min=0.1, help="With --wait: at most so many seconds.")
    ] = None,
    allow_concurrent: Annotated[
        bool, typer.Option("--allow-concurrent", help="Even while another run is active.")
    ] = False,
    request_id: Annotated[
        str | None, typer.Option(help="A UUID: repeating the command with it runs nothing twice.")
    ] = None,
) -> None:
    """Run a deployment."""
    settings = of(context)
    parameters = pairs(param or (), "--param")

    async def work(client: DeploymentClient) -> pb.Run:
        answer = await client.run_deployment(
            name,
            parameters=parameters,
            allow_concurrent=allow_concurrent,
            request_id=request_id,
        )
        if not wait:
            return answer.run
        if not settings.as_json:
            out.console().print(f"Run {out.last(answer.run.name)} of {name}: waiting for its end …")
        return await client.wait_for_run(
            answer.run.name, timeout_s=wait_timeout, resume_token=answer.resume_token
        )

    done = settings.run(work)
    if settings.as_json:
        out.json_line(done)
    else:
        out.console().print(_run_line(done))
    if done.status in FINAL and done.status != pb.DEPLOYMENT_STATUS_COMPLETED:
        raise typer.Exit(RUN_FAILED)


def runs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The deployment; all, if not given.")] = "-",
    status: Statuses = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
) -> None:
    """List runs, newest first."""
    settings = of(context)
    statuses = _statuses(status)
    page = settings.run(lambda client: client.list_runs(name, statuses=statuses, page_size=limit))
    if settings.as_json:
        for one in page.runs:
            out.json_line(one)
        return
    out.table(
        ("RUN", "STATUS", "BUILD", "STARTED", "TOOK", "WHY"),
        (
            (
                one.name.partition("/deployments/")[2],
                out.status_text(one.status),
                str(one.build_number or ""),
                out.local_time(one.start_time),
                out.duration(one.start_time, one.end_time),
                one.failure_message or out.cause_word(one.failure_cause) or one.waiting_reason,
            )
            for one in page.runs
        ),
        "There are no runs (that match).",
    )


def _run_line(run: pb.Run) -> Text:
    line = Text(f"{run.name.partition('/deployments/')[2]}: ")
    line.append_text(out.status_text(run.status))
    if run.build_number:
        line.append(f", build {run.build_number} {run.build_url}")
    for detail in (run.failure_message or out.cause_word(run.failure_cause), run.waiting_reason):
        if detail:
            line.append(f"\n{detail}")
    return line


def _job_state(job: pb.CicdJob) -> str:
    word = pb.CicdJobState.Name(job.state).removeprefix("CICD_JOB_STATE_").lower()
    return f"{word}: {job.state_message}" if job.state_message else word


def _statuses(words: list[str] | None) -> list[pb.DeploymentStatus]:
    statuses = []
    for word in words or ():
        try:
            value = pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{word.upper()}")
            statuses.append(cast("pb.DeploymentStatus", value))
        except ValueError:
            known = ", ".join(out.STYLES)
            raise CliError(
                f"--status {word}: there is no such status; it is one of {known}."
            ) from None
    return statuses
