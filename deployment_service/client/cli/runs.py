"""deployctl run, runs, cancel, resolve, explain, reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from deployment_service.client.cli import output as out
from deployment_service.client.cli.parameters import from_environment
from deployment_service.client.cli.settings import (
    RUN_FAILED,
    CliError,
    Param,
    Settings,
    Since,
    Statuses,
    of,
    pairs,
    statuses,
)
from deployment_service.client.cli.settings import since as since_time
from deployment_service.client.client import DeploymentClient
from deployment_service.client.waiting import FINAL
from deployment_service.v1 import deployment_service_pb2 as pb

RunName = Annotated[
    str, typer.Argument(help="The run: `web/7`; or its deployment, for the current one: `web`.")
]


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The deployment: `web`.")],
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
    from_run: Annotated[
        int | None, typer.Option(min=1, help="Run again with the parameters of this run.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A secret parameter, from the environment variable NAME."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why: it is kept with the run.")] = "",
    on_behalf_of: Annotated[
        str, typer.Option(help="For whom you act: it is shown as your claim.")
    ] = "",
    annotation: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A note that is kept with the run; repeatable."),
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="A UUID: repeating the command with it runs nothing twice.")
    ] = None,
) -> None:
    """Run a deployment."""
    settings = of(context)
    parameters = pairs(param or (), "--param") | from_environment(secret or ())
    annotations = pairs(annotation or (), "--annotation")
    earlier = f"{name}/runs/{from_run}" if from_run else ""

    async def work(client: DeploymentClient) -> pb.Run:
        answer = await client.run_deployment(
            name,
            parameters=parameters,
            allow_concurrent=allow_concurrent,
            from_run=earlier,
            on_behalf_of=on_behalf_of,
            reason=reason,
            annotations=annotations,
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
    _show(settings, done)
    if done.status in FINAL and done.status != pb.DEPLOYMENT_STATUS_COMPLETED:
        raise typer.Exit(RUN_FAILED)


def runs(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The deployment; all, if not given. `web/7`: that run in full.")
    ] = "-",
    status: Statuses = None,
    since: Since = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
) -> None:
    """List runs, newest first; or show one."""
    settings = of(context)
    if _names_run(name):
        _show(settings, settings.run(lambda client: client.get_run(name)), in_full=True)
        return
    wanted, start = statuses(status or ()), since_time(since)
    page = settings.run(
        lambda client: client.list_runs(name, statuses=wanted, since=start, page_size=limit)
    )
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
                out.local_time(one.queue_time),
                out.duration(one.queue_time, one.end_time),
                _why(one),
            )
            for one in page.runs
        ),
        "There are no runs (that match).",
    )


def cancel(
    context: typer.Context,
    name: RunName,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(min=0.1, help="With --wait: at most so many seconds.")
    ] = None,
) -> None:
    """Cancel a run: it leaves Jenkins' queue, or its build is stopped."""
    settings = of(context)

    async def work(client: DeploymentClient) -> pb.Run:
        answer = await client.cancel_run(await _run_name(client, name))
        if not wait:
            return answer.run
        return await client.wait_for_run(
            answer.run.name, timeout_s=wait_timeout, resume_token=answer.resume_token
        )

    _show(settings, settings.run(work))


def resolve(
    context: typer.Context,
    name: RunName,
    status: Annotated[
        str, typer.Option("--status", help="How it ended: completed, failed or cancelled.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", help="The evidence; it is stored in the history.")
    ],
    request_id: Annotated[
        str | None, typer.Option(help="A UUID: repeating the command with it has one effect.")
    ] = None,
) -> None:
    """Set the end of a run that can no longer be read from Jenkins. Needs an admin's key.

    Nothing is done in Jenkins. Neither reports nor Jenkins change this end; only another `resolve` does.
    """
    settings = of(context)
    (wanted,) = statuses([status])

    async def work(client: DeploymentClient) -> pb.Run:
        run_name = await _run_name(client, name)
        answer = await client.resolve_run(run_name, wanted, reason, request_id=request_id)
        return answer.run

    _show(settings, settings.run(work))


def explain(context: typer.Context, name: RunName) -> None:
    """Show the history of a run: attempts to trigger it, reports about its build, events."""
    settings = of(context)

    async def work(client: DeploymentClient) -> pb.ExplainRunResponse:
        return await client.explain_run(await _run_name(client, name))

    trail = settings.run(work)
    if settings.as_json:
        out.json_line(trail)
        return
    _show(settings, trail.run)
    if trail.HasField("job_problem") and not trail.run.HasField("observation_problem"):
        out.console().print(f"Its job has a {out.problem_text(trail.job_problem)}")
    rows = sorted(_steps(trail), key=lambda step: (step[0].seconds, step[0].nanos))
    out.table(
        ("TIME", "WHAT", "", "MORE"),
        ((out.local_time(time), what, brief, more) for time, what, brief, more in rows),
        "Its attempts, reports and events are past retention.",
    )


def reports(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The deployment whose job's reports are meant.")] = "",
    job: Annotated[str, typer.Option("--job", help="Or the job, by its id (a UUID).")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
) -> None:
    """List reports that belong to no run, newest first: why a webhook changed nothing."""
    if bool(name) == bool(job):
        raise CliError("Name the deployment, or the job with --job.")
    settings = of(context)
    page = settings.run(lambda client: client.list_reports(name, job_id=job, page_size=limit))
    if settings.as_json:
        for one in page.reports:
            out.json_line(one)
        return
    out.table(
        ("RECEIVED", "BUILD", "CAME", "VERDICT", "WHY"),
        (
            (
                out.local_time(one.receive_time),
                str(one.build_number),
                " ".join(filter(None, (one.phase, one.status))),
                one.verdict,
                one.message,
            )
            for one in page.reports
        ),
        "No report is without a run.",
    )


def _steps(trail: pb.ExplainRunResponse) -> Iterator[tuple[Timestamp, str, str, str]]:
    """Time, what it was, in short, and in words."""
    for one in trail.attempts:
        status = f" {one.http_status}" if one.http_status else ""
        item = f", queue item {one.queue_id}" if one.queue_id else ""
        brief = f"{one.outcome or 'no outcome'}{status}{item}"
        yield one.claim_time, f"attempt {one.attempt}", brief, one.message
    for report in trail.reports:
        came = " ".join(filter(None, (report.phase, report.status)))
        brief = f"build {report.build_number}: {came} → {report.verdict}"
        yield report.receive_time, f"report of {report.source.lower()}", brief, report.message
    yield from map(_by_operator, trail.resolutions)
    for event in trail.events:
        kind = pb.DeploymentEvent.Type.Name(event.type).removeprefix("DEPLOYMENT_").lower()
        texts = [out.status_name(one) for one in (event.old_run_status, event.run_status) if one]
        brief = " → ".join(texts) if event.old_run_status != event.run_status else ""
        yield (
            event.create_time,
            f"event {event.sequence}",
            kind.replace("_", " "),
            (f"{brief}  {event.message}".strip()),
        )


def _by_operator(one: pb.RunResolution) -> tuple[Timestamp, str, str, str]:
    who = f" ({one.actor.display_name})" if one.actor.display_name else ""
    change = f"{out.status_name(one.old_status)} → {out.status_name(one.status)}"
    return one.create_time, f"resolved by {one.actor.subject}{who}", change, one.reason


def _names_run(name: str) -> bool:
    return "/runs/" in name or ("/" in name and not name.startswith("tenants/"))


async def _run_name(client: DeploymentClient, name: str) -> str:
    if _names_run(name):
        return name
    current = (await client.get_deployment(name)).current_run
    if not current:
        raise CliError(f"{name} hasn't been run yet.", 4)
    return current


def _show(settings: Settings, run: pb.Run, *, in_full: bool = False) -> None:
    if settings.as_json:
        out.json_line(run)
        return
    out.console().print(_run_line(run))
    if in_full:
        out.table(("", ""), _details(run), "")


def _details(run: pb.Run) -> Iterator[tuple[str, str]]:
    """Return the details of a run that its line does not contain; unknown ones are omitted."""
    rows = [
        ("requested by", out.actor_text(run.requested_by)),
        ("reason", run.reason),
        *((f"annotation {key}", value) for key, value in sorted(run.annotations.items())),
        ("retry of", run.retry_of.partition("/deployments/")[2]),
        *((f"parameter {key}", value) for key, value in sorted(run.parameters.items())),
        *((f"parameter {name}", "(secret)") for name in run.secret_parameters),
        ("created", out.local_time(run.create_time)),
        ("queued", out.local_time(run.queue_time)),
        ("build started", out.local_time(run.build_start_time)),
        ("ended", out.local_time(run.end_time)),
        ("settled", out.local_time(run.settle_time)),
    ]
    return ((label, text) for label, text in rows if text)


def _run_line(run: pb.Run) -> Text:
    line = Text(f"{run.name.partition('/deployments/')[2]}: ")
    line.append_text(out.status_text(run.status))
    if run.build_number:
        line.append(f", build {run.build_number} {run.build_url}")
    for detail in (run.failure_message or out.cause_name(run.failure_cause), run.waiting_reason):
        if detail:
            line.append(f"\n{detail}")
    if run.HasField("observation_problem"):
        line.append(f"\n{out.problem_text(run.observation_problem)}", style="yellow")
    return line


def _why(run: pb.Run) -> str:
    """Why a run failed, or why nothing more is known of it, or what it waits for."""
    failure = run.failure_message or out.cause_name(run.failure_cause)
    if not failure and run.HasField("observation_problem"):
        return out.problem_text(run.observation_problem)
    return failure or run.waiting_reason
