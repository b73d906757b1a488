"""Follows a tenant's deployments and never misses an event, even across its own restarts.

It keeps the last resume token in a file: started again, it continues exactly where it was.
Settings: DEPLOYMENT_SERVICE_TARGET, DEPLOYMENT_API_KEY, DEPLOYMENT_TENANT.

    python examples/watch.py --token-file token
"""

import argparse
import asyncio
import os
from pathlib import Path

from deployment_service.client import DeploymentClient, HistoryLost
from deployment_service.v1 import deployment_service_pb2 as pb


def word(status: pb.DeploymentStatus) -> str:
    return pb.DeploymentStatus.Name(status).removeprefix("DEPLOYMENT_STATUS_").lower()


def read(token_file: Path) -> str:
    return token_file.read_text() if token_file.exists() else ""


def write(token_file: Path, token: str) -> None:
    token_file.write_text(token)


async def present(client: DeploymentClient) -> str:
    """Show what is now; where to watch from, taken before that, so that nothing falls in between."""
    token = (await client.list_deployments(page_size=1)).resume_token
    async for one in client.deployments():
        print(f"{one.name} is {word(one.status)}", flush=True)
    return token


async def follow(client: DeploymentClient, token_file: Path, *, until_settled: bool) -> None:
    token = read(token_file) or await present(client)
    async with client.watch(resume_token=token) as watch:
        async for event in watch:  # what happens, once and in order
            change = f"{word(event.old_run_status)} -> {word(event.run_status)}"
            print(event.sequence, event.run or event.deployment, change, event.message, flush=True)
            # Only now is the event dealt with. (In a real consumer: in the same transaction.)
            write(token_file, watch.resume_token)
            if until_settled and event.certainty in SETTLED:
                return


# A reported end may still be withdrawn; the first event with one of these settles its run.
SETTLED = (pb.CERTAINTY_CONFIRMED, pb.CERTAINTY_UNVERIFIABLE)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token-file", type=Path, default=Path("watch-token"))
    parser.add_argument("--until-settled", action="store_true", help="stop once one run is settled")
    arguments = parser.parse_args()
    client = DeploymentClient(
        os.environ["DEPLOYMENT_SERVICE_TARGET"],
        api_key=os.environ["DEPLOYMENT_API_KEY"],
        tenant=os.environ["DEPLOYMENT_TENANT"],
    )
    async with client:
        while True:
            try:
                await follow(client, arguments.token_file, until_settled=arguments.until_settled)
                return
            except HistoryLost:  # our token is older than what is kept: begin with the present
                print("starting afresh", flush=True)
                arguments.token_file.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
