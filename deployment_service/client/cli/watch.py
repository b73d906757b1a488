"""deployctl events, watch."""

from __future__ import annotations

from contextlib import aclosing
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from deployment_service.client.cli import output as out
from deployment_service.client.cli.settings import Since, of, pairs
from deployment_service.client.cli.settings import since as since_time
from deployment_service.client.client import DeploymentClient
from deployment_service.client.errors import DeploymentServiceError
from deployment_service.v1 import deployment_service_pb2 as pb

# gRPC's message when a replica closes an old connection, so that clients find new replicas: no failure.
CONNECTION_AGE = "max connection age"


class Until(StrEnum):
    """The kinds of end that --until takes."""

    REPORTED = "reported"
    SETTLED = "settled"


_UNTIL = {
    None: pb.WATCH_UNTIL_UNSPECIFIED,
    Until.REPORTED: pb.WATCH_UNTIL_REPORTED,
    Until.SETTLED: pb.WATCH_UNTIL_SETTLED,
}

Names = Annotated[list[str] | None, typer.Argument(help="Deployments; all, if none is given.")]


def events(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The deployment; all, if not given.")] = "-",
    since: Since = "",
    limit: Annotated[int, typer.Option(min=1, help="Only the newest so many.")] = 100,
) -> None:
    """Show the history of events, oldest first."""
    settings, start = of(context), since_time(since)

    async def work(client: DeploymentClient) -> list[pb.DeploymentEvent]:
        newest: list[pb.DeploymentEvent] = []
        async with aclosing(client.history(name, since=start, order_by="sequence desc")) as events:
            async for event in events:
                newest.append(event)
                if len(newest) == limit:
                    break
        return newest[::-1]

    found = settings.run(work)
    for event in found:
        if settings.as_json:
            out.json_line(event)
        else:
            out.console().print(out.event_line(event))
    if not found and not settings.as_json:
        out.console().print("There are no events yet.")


def watch(
    context: typer.Context,
    names: Names = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only deployments with this label; repeatable."),
    ] = None,
    resume_token: Annotated[
        str, typer.Option("--from", help="A resume token: continue after it, without a gap.")
    ] = "",
    until: Annotated[
        Until | None,
        typer.Option(
            help="End once all that are named have ended: as reported, or settled (for certain)."
        ),
    ] = None,
) -> None:
    """Follow deployments live until Ctrl-C: the present first, then every event once and in order."""
    settings, labels = of(context), pairs(label or (), "--label")
    console = out.console()

    def disconnected(failure: DeploymentServiceError, pause_s: float) -> None:
        if failure.message == CONNECTION_AGE:
            return
        typer.echo(f"interrupted ({failure.message}); again in {pause_s:.1f} s", err=True)

    async def work(client: DeploymentClient) -> None:
        if not resume_token:
            # A watch of a name that does not exist waits for it: a typing error would wait for ever.
            for name in names or ():
                await client.get_deployment(name)
        stream = client.watch_messages(
            *(names or ()),
            labels=labels,
            resume_token=resume_token,
            until=_UNTIL[until],
            on_disconnect=disconnected,
        )
        try:
            async with stream:
                async for message in stream:
                    if settings.as_json:
                        out.json_line(message)
                    elif line := _line(message):
                        console.print(line)
        finally:
            if not settings.as_json and stream.resume_token:
                typer.echo(f"To continue from here: --from {stream.resume_token}", err=True)

    settings.run(work)


def _line(message: pb.WatchDeploymentsResponse) -> Text | None:
    match message.WhichOneof("response"):
        case "event":
            return out.event_line(message.event)
        case "deployment":
            one = message.deployment
            line = Text("   now            ").append(f"{out.last(one.name):<20} ", style="bold")
            line.append_text(out.status_text(one.status))
            if one.HasField("observation_problem"):
                line.append(f"  {out.problem_text(one.observation_problem)}", style="yellow")
            return line
        case "reset":
            reason = pb.Reset.Reason.Name(message.reset.reason).removeprefix("REASON_").lower()
            return Text(f"-- starting afresh: {reason.replace('_', ' ')}", style="yellow")
        case _:
            return None
