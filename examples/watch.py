"""Follows a tenant's deployments and never misses an event, even across its own restarts.

It keeps the last resume token in a file: started again, it goes on exactly where it was.
Settings: DEPLOYMENT_SERVICE_TARGET, DEPLOYMENT_API_KEY, DEPLOYMENT_TENANT.

    python examples/watch.py --token-file token
"""

import argparse
import asyncio
import os
from pathlib import Path

from deployment_service.client import DeploymentClient
from deployment_service.v1 import deployment_service_pb2 as pb


def word(status: pb.DeploymentStatus) -> str:
    return pb.DeploymentStatus.Name(status).removeprefix("DEPLOYMENT_STATUS_").lower()


def read(token_file: Path) -> str:
    return token_file.read_text() if token_file.exists() else ""


def write(token_file: Path, token: str) -> None:
    token_file.write_text(token)


async def follow(client: DeploymentClient, token_file: Path, *, until_final: bool) -> None:
    token = read(token_file)
    async with client.watch(resume_token=token) as watch:
        async for message in watch:
            match message.WhichOneof("response"):
                case "deployment":  # the present, if there was no token
                    print(
                        f"{message.deployment.name} is {word(message.deployment.status)}",
                        flush=True,
                    )
                case "event":  # what happens, once and in order
                    event = message.event
                    change = f"{word(event.old_status)} -> {word(event.status)}"
                    print(
                        event.sequence,
                        event.run or event.deployment,
                        change,
                        event.message,
                        flush=True,
                    )
                case "reset":  # our token is too old: drop what we hold, the present follows
                    print("starting afresh")
            # Only now is the message dealt with. (In a real consumer: in the same transaction.)
            write(token_file, message.resume_token)
            if until_final and message.event.run and word(message.event.status) in FINAL:
                return


FINAL = ("completed", "failed", "cancelled")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token-file", type=Path, default=Path("watch-token"))
    parser.add_argument("--until-final", action="store_true", help="stop after one run's end")
    arguments = parser.parse_args()
    client = DeploymentClient(
        os.environ["DEPLOYMENT_SERVICE_TARGET"],
        api_key=os.environ["DEPLOYMENT_API_KEY"],
        tenant=os.environ["DEPLOYMENT_TENANT"],
    )
    async with client:
        await follow(client, arguments.token_file, until_final=arguments.until_final)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
