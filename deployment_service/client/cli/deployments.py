"""deployctl deployments …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from deployment_service.client.cli import output as out
from deployment_service.client.cli.parameters import DEFINE_HELP, definitions, described
from deployment_service.client.cli.settings import (
    CliError,
    Param,
    Since,
    Statuses,
    of,
    pairs,
    statuses,
)
from deployment_service.client.cli.settings import since as since_time
from deployment_service.client.client import DeploymentClient
from deployment_service.v1 import deployment_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="List, create, show, change and delete deployments.")

Name = Annotated[str, typer.Argument(help="The deployment: `web`, or its full name.")]
Define = Annotated[list[str] | None, typer.Option(metavar="NAME:KIND", help=DEFINE_HELP)]


@app.command("list")
def list_deployments(
    context: typer.Context,
    status: Statuses = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this label.")
    ] = None,
    provider: Annotated[str, typer.Option(help="Only of this provider.")] = "",
    since: Since = "",
    newest: Annotated[
        bool, typer.Option("--newest", help="The newest first, instead of by name.")
    ] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Also those that are deleted and not yet purged.")
    ] = False,
) -> None:
    """List deployments, by name."""
    settings = of(context)
    wanted, labels = statuses(status or ()), pairs(label or (), "--label")
    start = since_time(since)

    async def work(client: DeploymentClient) -> list[pb.Deployment]:
        found = client.deployments(
            statuses=wanted,
            labels=labels,
            provider=provider,
            since=start,
            order_by="create_time desc" if newest else "",
            show_deleted=deleted,
        )
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
        ("requested by", out.actor_text(one.current_run_summary.requested_by)),
        ("waits for", one.current_run_summary.waiting_reason),
        ("usually takes", out.seconds_text(one.typical_duration)),
        ("last completed", one.last_completed_run),
        ("provider", one.provider),
        ("job", f"{job.name}  {job.url}"),
        ("job state", _job_state(job)),
        ("problem", _problem(one)),
        ("parameters", Text(", ".join(map(described, one.parameter_definitions)))),
        ("labels", ", ".join(f"{k}={v}" for k, v in sorted(one.labels.items()))),
        ("created", out.local_time(one.create_time)),
        ("changed", out.local_time(one.update_time)),
    ]
    out.table(("", ""), ((key, value) for key, value in lines if value), "")


def _problem(one: pb.Deployment) -> str:
    """That of its current run, else of its job; empty if there is none."""
    for holder in (one, one.cicd_job):
        if holder.HasField("observation_problem"):
            return out.problem_text(holder.observation_problem)
    return ""


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
    define: Define = None,
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
        parameter_definitions=definitions(pairs(param or (), "--param"), define or ()),
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


@app.command("update")
def update_deployment(
    context: typer.Context,
    name: Name,
    param: Param = None,
    define: Define = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; may be repeated.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="For people.")] = None,
) -> None:
    """Change a deployment. Parameters (--param and --define) and labels replace all that it has of them."""
    changed = pb.Deployment(name=name, display_name=title or "")
    fields = [] if title is None else ["display_name"]
    if param or define:
        changed.parameter_definitions.extend(
            definitions(pairs(param or (), "--param"), define or ())
        )
        fields.append("parameter_definitions")
    if label:
        changed.labels.update(pairs(label, "--label"))
        fields.append("labels")
    if not fields:
        raise CliError("Give what is to change: --param, --define, --label or --title.")
    settings = of(context)
    done = settings.run(lambda client: client.update_deployment(changed, fields=fields))
    if settings.as_json:
        out.json_line(done)
    else:
        out.console().print(f"Changed {name}.", markup=False)


@app.command("delete")
def delete_deployment(
    context: typer.Context,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Even while a run is active.")] = False,
    cancel_builds: Annotated[
        bool, typer.Option("--cancel-builds", help="With --force: stop its builds in Jenkins.")
    ] = False,
) -> None:
    """Delete a deployment, with its job if we made that."""
    settings = of(context)
    gone = settings.run(
        lambda client: client.delete_deployment(name, force=force, cancel_builds=cancel_builds)
    )
    if settings.as_json:
        out.json_line(gone)
    else:
        out.console().print(f"Deleted {name}.")


def _job_state(job: pb.CicdJob) -> str:
    state = pb.CicdJobState.Name(job.state).removeprefix("CICD_JOB_STATE_").lower()
    return f"{state}: {job.state_message}" if job.state_message else state
