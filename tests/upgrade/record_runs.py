"""Fill a database through the service of an earlier revision and dump its data.

``make_dump.py`` runs this file inside a checkout of that revision, so its imports are that revision's.
A few runs of every kind, then the service is killed while some of them are under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import asyncpg
from deployment_service.dev.jenkins.faults import RequestFault
from deployment_service.dev.jenkins.model import Result
from deployment_service.dev.options import StackOptions
from deployment_service.dev.stack import DevStack
from known_secrets import SECRET_KEY, VIEWER_KEY  # beside this file, not in the checkout

from deployment_service.client import DeploymentClient, DeploymentServiceError
from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.webhook_auth import signatures

NO_JENKINS = "http://127.0.0.1:9/"
SETTINGS = {
    "READ_INTERVAL_S": "0.2",
    "POLLING_INTERVAL_S": "0.2",
    "LOST_AFTER_S": "0.5",
    "BETWEEN_LOOKS_S": "0.3",
    "QUARANTINE_S": "0.3",
    "SEND_WITHIN_S": "1",
    "REQUEST_TIMEOUT_S": "1",
    "TRIGGER_WAIT_S": "0.5",
    "ALLOW_CONFIG_XML": "true",
}
PLAIN = "<project><builders/></project>"
INPUT = "node { stage('Ask') { input 'Go on?' } }"


class Recorder:
    def __init__(self, stack: DevStack, client: DeploymentClient) -> None:
        self.stack, self.client = stack, client
        assert stack.simulator is not None
        self.jenkins = stack.simulator

    async def create(self, slug: str, ready: bool = True, **fields: object) -> pb.Deployment:
        fields.setdefault("job", pb.DeploymentJob(freestyle_shell="true"))
        definition = pb.Deployment(provider=self.stack.provider, **fields)
        made = (await self.client.create_deployment(slug, definition)).deployment
        while ready and made.cicd_job.state != pb.CICD_JOB_STATE_READY:
            assert made.cicd_job.state != pb.CICD_JOB_STATE_FAILED, made.cicd_job
            await asyncio.sleep(0.1)
            made = await self.client.get_deployment(slug)
        return made

    async def start(self, slug: str, **fields: object) -> pb.Run:
        return (await self.client.run_deployment(slug, **fields)).run

    async def until(self, run: pb.Run, what: str, **wanted: object) -> pb.Run:
        deadline = time.monotonic() + 60
        while any(getattr(run, name) != value for name, value in wanted.items()):
            assert time.monotonic() < deadline, (what, run)
            await asyncio.sleep(0.1)
            run = await self.client.get_run(run.name)
        return run

    async def building(self, slug: str, **fields: object) -> pb.Run:
        """Start a run whose build is held until it is released."""
        job = self.job(slug)
        self.jenkins.hold(job)
        run = await self.start(slug, **fields)
        while not run.build_number:
            await asyncio.sleep(0.05)
            run = await self.client.get_run(run.name)
        return run

    async def ended(self, slug: str, result: Result, **fields: object) -> pb.Run:
        """Run it to an end with this result."""
        run = await self.building(slug, **fields)
        self.jenkins.release(self.job(slug), run.build_number, result)
        return await self.settled(run)

    async def settled(self, run: pb.Run) -> pb.Run:
        return await self.until(run, "confirmed", confirmed=True)

    async def post(self, url: str, body: str, **headers: str) -> int:
        everything = {"Content-Type": "application/json", **headers}
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=body, headers=everything) as answer:
                return answer.status

    async def jenkins_post(self, path: str) -> int:
        auth = aiohttp.BasicAuth(self.stack.jenkins.user, self.stack.jenkins.token)
        async with aiohttp.ClientSession(auth=auth) as session:
            url = f"{self.jenkins.url}/{path}"
            async with session.post(url, allow_redirects=False) as answer:
                return answer.status

    def job(self, slug: str) -> str:
        tenant = (self.client.names.tenant(None)).removeprefix("tenants/")
        return slug if slug.startswith("shared/") or slug == "plain" else f"{tenant}.{slug}"


async def ends_of_every_kind(recorder: Recorder) -> None:
    await recorder.create(
        "web",
        display_name="Web shop",
        labels={"team": "shop", "stage": "prod"},
        parameters={"VERSION": "1.0"},
    )
    for result in Result:
        await recorder.ended("web", result, parameters={"VERSION": result.name.lower()})
    await recorder.create("tolerant", unstable_policy=pb.UNSTABLE_POLICY_COMPLETED)
    await recorder.ended("tolerant", Result.UNSTABLE)
    # Cancelled while it builds, and while it waits in the queue.
    await recorder.create("cancelled")
    run = await recorder.building("cancelled")
    await recorder.client.cancel_run(run.name)
    await recorder.settled(run)
    assert await recorder.jenkins_post("quietDown") < 400
    run = await recorder.start("cancelled")
    run = await recorder.until(run, "in the queue", waiting_for=pb.WAITING_FOR_QUEUE)
    await recorder.client.cancel_run(run.name)
    await recorder.settled(run)
    assert await recorder.jenkins_post("cancelQuietDown") < 400
    # Stopped by a person in Jenkins.
    run = await recorder.building("cancelled")
    assert (
        await recorder.jenkins_post(f"job/{recorder.job('cancelled')}/{run.build_number}/stop")
        < 400
    )
    await recorder.settled(run)


async def triggers_of_every_kind(recorder: Recorder) -> None:
    await recorder.create("rejected")
    assert await recorder.jenkins_post(f"job/{recorder.job('rejected')}/disable") < 400
    run = await recorder.start("rejected")
    run = await recorder.until(run, "rejected", status=pb.DEPLOYMENT_STATUS_FAILED)
    # A lost answer: the build is found by its run id.
    await recorder.create("answer-lost")
    path = f"/job/{recorder.job('answer-lost')}/buildWithParameters"
    recorder.jenkins.faults.add(RequestFault("POST", path, count=1, reset=True, do_work=True))
    await recorder.settled(await recorder.start("answer-lost"))
    # A lost request: sent again after the quarantine.
    recorder.jenkins.faults.add(RequestFault("POST", path, count=1, reset=True))
    await recorder.settled(await recorder.start("answer-lost"))
    # A job without our parameter: followed by its queue item, and not repeated when the outcome is unclear.
    recorder.jenkins.create_job("plain", PLAIN)
    existing = pb.DeploymentJob(existing_job=pb.ExistingJob(full_name="plain"))
    await recorder.create("adopted", job=existing)
    await recorder.settled(await recorder.start("adopted"))
    recorder.jenkins.faults.add(RequestFault("POST", "/job/plain/build", count=1, reset=True))
    run = await recorder.start("adopted")
    await recorder.until(run, "outcome unknown", status=pb.DEPLOYMENT_STATUS_FAILED)
    # Cancelled before anything was sent.
    await recorder.create("unsent")
    path = f"/job/{recorder.job('unsent')}/"
    recorder.jenkins.faults.add(RequestFault("GET", path, status=503))
    run = await recorder.start("unsent")
    await recorder.client.cancel_run(run.name)
    await recorder.until(run, "cancelled", status=pb.DEPLOYMENT_STATUS_CANCELLED)
    recorder.jenkins.faults.clear()


async def builds_from_outside(recorder: Recorder) -> None:
    await recorder.create("external")
    job = recorder.job("external")
    assert await recorder.jenkins_post(f"job/{job}/buildWithParameters?delay=0sec") == 201
    await recorder.client.run_deployment("external", allow_concurrent=True)
    while len((await recorder.client.list_runs("external")).runs) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    for run in (await recorder.client.list_runs("external")).runs:
        await recorder.settled(run)
    # A build that is gone after a crash of Jenkins.
    await recorder.create("lost")
    run = await recorder.building("lost")
    await recorder.jenkins.restart(hard=True)
    await recorder.until(run, "lost", status=pb.DEPLOYMENT_STATUS_FAILED)


async def jobs_of_every_kind(recorder: Recorder) -> None:
    kinds = [kind for kind in admin_pb.JobKind.values() if kind]
    provider = admin_pb.Provider(
        name=recorder.client.names.provider(recorder.stack.provider), allowed_job_kinds=kinds
    )
    await recorder.client.admin.update_provider(provider, fields=["allowed_job_kinds"])
    scm = pb.PipelineScm(
        url="https://git.invalid/shop.git", branch="main", script_path="Jenkinsfile"
    )
    await recorder.create("from-scm", job=pb.DeploymentJob(pipeline_scm=scm))
    await recorder.create("from-xml", job=pb.DeploymentJob(config_xml=PLAIN))
    await recorder.create("asks", job=pb.DeploymentJob(pipeline_script=INPUT))
    # A job that could not be created: while Jenkins did not answer, a person made another of that name.
    recorder.jenkins.faults.add(RequestFault("POST", "/createItem", status=503))
    made = await recorder.create("name-taken", ready=False)
    recorder.jenkins.create_job(recorder.job("name-taken"), PLAIN)
    recorder.jenkins.faults.clear()
    while made.cicd_job.state != pb.CICD_JOB_STATE_FAILED:
        await asyncio.sleep(0.1)
        made = await recorder.client.get_deployment("name-taken")
    shared = "shared/deploy"
    recorder.jenkins.create_job(shared, PLAIN)
    for stage in ("test", "prod"):
        existing = pb.ExistingJob(full_name=shared, fixed_parameters={"STAGE": stage})
        await recorder.create(f"shared-{stage}", job=pb.DeploymentJob(existing_job=existing))
    # Deleted, job and all; its history stays.
    await recorder.create("deleted")
    await recorder.ended("deleted", Result.SUCCESS)
    await recorder.client.delete_deployment("deleted")


async def reports_of_every_kind(recorder: Recorder) -> None:
    await recorder.create("reported")
    run = await recorder.building("reported")
    shown = await recorder.client.get_deployment("reported", show_signing_secret=True)
    job = shown.cicd_job
    secret = signatures.from_text(job.signing_secret)
    plain_url = f"{job.webhook_url.partition('?')[0]}?job={job.id}"

    async def signed(delivery_id: str, body: str) -> int:
        headers = signatures.signed_headers(secret, delivery_id, int(time.time()), body.encode())
        return await recorder.post(plain_url, body, **headers)

    body = f'{{"jobId": "{job.id}", "status": "%s", "buildNumber": %d}}'
    number = run.build_number
    assert await signed("first", body % ("running", number)) < 300
    assert await signed("first", body % ("running", number)) < 300
    assert await signed("unknown-status", body % ("deploying", number)) < 300
    assert await recorder.post(job.webhook_url, body % ("running", number)) < 300
    recorder.jenkins.release(recorder.job("reported"), number, Result.SUCCESS)
    await recorder.settled(run)
    assert await signed("late", body % ("running", number)) < 300


async def tenants_and_keys(stack: DevStack, client: DeploymentClient) -> None:
    await client.admin.create_tenant("bank", display_name="Bank")
    await client.admin.create_tenant("empty")
    async with DeploymentClient(stack.target, api_key=stack.api_key, tenant="bank") as bank:
        await bank.admin.create_provider(
            stack.provider,
            admin_pb.Provider(
                base_url=stack.jenkins.url,
                username=stack.jenkins.user,
                api_token=stack.jenkins.token,
                reporting=admin_pb.REPORTING_POLLING,
            ),
        )
        await bank.admin.create_provider("spare", admin_pb.Provider(base_url=NO_JENKINS))
        recorder = Recorder(stack, bank)
        await recorder.create("web", labels={"team": "bank"})
        await recorder.ended("web", Result.SUCCESS)
        await recorder.ended("web", Result.FAILURE)
    for role in admin_pb.Role.values():
        if role:
            made = await client.admin.create_api_key(
                role, tenant=stack.tenant, display_name="of a tenant"
            )
    await client.admin.revoke_api_key(made.api_key.name)
    rotation = await client.admin.rotate_webhook_secret()
    await client.admin.rotate_webhook_secret()
    old = next(key for key in rotation.keys if not key.HasField("retire_time"))
    await client.admin.retire_webhook_key(old.key_id, force=True)


async def under_way(recorder: Recorder) -> None:
    """Leave something in every state that is not final, and a deletion and a creation that cannot go on."""
    stack, jenkins = recorder.stack, recorder.jenkins
    for slug in ("builds", "queued", "sending", "doubtful", "deleting", "waits"):
        await recorder.create(slug)
    run = await recorder.start("asks")
    await recorder.until(run, "at its input step", waiting_for=pb.WAITING_FOR_INPUT)
    await recorder.building("builds")
    cancelled = await recorder.building("cancelled")
    jenkins.faults.add(RequestFault("POST", "/stop", status=503))
    await recorder.client.cancel_run(cancelled.name)
    assert await recorder.jenkins_post("quietDown") < 400
    run = await recorder.start("queued")
    await recorder.until(run, "in the queue", waiting_for=pb.WAITING_FOR_QUEUE)
    # A report that may be of the queued run's build, or of a build that Jenkins never had.
    job = (await recorder.client.get_deployment("queued", show_signing_secret=True)).cicd_job
    secret = signatures.from_text(job.signing_secret)
    body = f'{{"jobId": "{job.id}", "status": "failure", "buildNumber": 40}}'
    headers = signatures.signed_headers(secret, "kept", int(time.time()), body.encode())
    url = f"{job.webhook_url.partition('?')[0]}?job={job.id}"
    assert await recorder.post(url, body, **headers) < 300
    jenkins.faults.add(RequestFault("POST", "/doDelete", status=503))
    await recorder.client.delete_deployment("deleting")
    jenkins.faults.add(RequestFault("POST", "/createItem", status=503))
    await recorder.create("creating", ready=False)
    path = f"/job/{recorder.job('waits')}/"
    jenkins.faults.add(RequestFault("GET", path, status=503))
    await recorder.start("waits")
    path = f"/job/{recorder.job('doubtful')}/buildWithParameters"
    jenkins.faults.add(RequestFault("POST", path, reset=True))
    await recorder.start("doubtful")
    path = f"/job/{recorder.job('sending')}/buildWithParameters"
    jenkins.faults.add(RequestFault("POST", path, delay_before_s=30))
    run = await recorder.start("sending")
    connection = await asyncpg.connect(stack.database_url)
    try:
        query = "SELECT trigger_state FROM deployment_runs WHERE run_id = $1"
        while await connection.fetchval(query, uuid.UUID(run.uid)) != "SENDING":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def prepare(stack: DevStack) -> str:
    """Make the data harmless, add a known key, and return the database's time."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        # Nothing that uses the dump shall reach anything, and one key shall be known.
        await connection.execute(f"UPDATE cicd_providers SET base_url = '{NO_JENKINS}'")
        await connection.execute(
            """INSERT INTO api_keys (tenant_id, secret_sha256, role, display_name)
                SELECT tenant_id, $1, 'VIEWER', 'known to the test' FROM tenants WHERE slug = 'demo'""",
            hashlib.sha256(VIEWER_KEY.encode()).digest(),
        )
        return str(await connection.fetchval("SELECT now()::text"))
    finally:
        await connection.close()


def dump(stack: DevStack, path: Path, now: str) -> None:
    assert stack.postgres is not None
    options = ["--data-only", "--column-inserts", "--no-owner", "--exclude-table=alembic_version"]
    program = str(stack.postgres.program("pg_dump"))
    done = subprocess.run(
        [program, *options, stack.database_url], capture_output=True, text=True, check=True
    )
    # Without what only psql understands, and the comments.
    lines = [
        line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\"))
    ]
    head = [
        "-- Made by make_dump.py; do not edit.",
        f"-- taken at {now}",
        "DELETE FROM store_epoch;",
    ]
    path.write_text("\n".join([*head, *lines]) + "\n")


async def main(path: Path) -> None:
    with TemporaryDirectory() as folder:
        key_path = Path(folder) / "secret-keys"
        key_path.write_text(SECRET_KEY)
        options = StackOptions(secret_keys_path=key_path, service_settings=SETTINGS)
        async with DevStack(options, sink=lambda name, line: print(f"{name:>8} | {line}")) as stack:
            async with stack.client() as client:
                recorder = Recorder(stack, client)
                for part in (
                    ends_of_every_kind,
                    triggers_of_every_kind,
                    builds_from_outside,
                    jobs_of_every_kind,
                    reports_of_every_kind,
                ):
                    print(f"=== {part.__name__}")
                    await part(recorder)
                await tenants_and_keys(stack, client)
                await under_way(recorder)
            await stack.kill_service()
            now = await prepare(stack)
            await asyncio.to_thread(dump, stack, path, now)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except DeploymentServiceError as error:
        sys.exit(f"A call failed: {error!r}")
