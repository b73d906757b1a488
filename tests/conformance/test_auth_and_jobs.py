"""Conformance of folders 01 (who is calling) and 02 (creating and reading jobs)."""

from __future__ import annotations

from jenkins_simulator import JenkinsSimulator
from tests.conformance.story import Story, freestyle


async def test_01_auth_crumb(jenkins: JenkinsSimulator):
    story = Story(jenkins, "01-auth-crumb")
    for name in (
        "anonymous-api",
        "anonymous-post",
        "bearer-token",
        "crumb-anonymous",
        "unknown-user",
        "whoami",
        "wrong-creds-post",
        "wrong-password",
        "wrong-token",
        "crumb-with-token",
        "crumb-xml-xpath",
    ):
        await story.replay(name)
    reply = await story.replay("crumb-with-password")
    cookie = reply.all("Set-Cookie")[0].partition(";")[0]
    crumb = reply.body.decode().partition('"crumb":"')[2].partition('"')[0]
    await story.replay("post-password-no-crumb")
    await story.replay("post-password-bad-crumb", headers={"Cookie": cookie})
    await story.replay("post-password-crumb-no-cookie", headers={"Jenkins-Crumb": crumb})
    await story.replay("post-token-no-crumb")
    await story.replay("post-token-bad-crumb")
    story.check()
    assert {job.name for job in jenkins.controller.root.jobs()} == {"bytoken", "bytoken2"}


async def test_02_create_job(jenkins: JenkinsSimulator):
    story = Story(jenkins, "02-create-job")
    for name in ("bytoken", "bytoken2", "withcrumb"):
        jenkins.create_job(name, freestyle("true"))
    for name in (
        "create-ok",
        "create-duplicate",
        "create-duplicate-case",
        "create-bad-name-dots",
        "create-bad-xml",
        "create-empty-body",
        "create-empty-name",
        "create-no-name",
        "create-form-content-type",
        "create-no-content-type",
        "create-name-space-unicode",
        "get-config-xml",
        "list-jobs",
        "list-jobs-urlencoded",
        "bad-tree",
        "build-missing",
        "check-job-name-exists",
        "job-missing",
        "lastbuild-nobuilds",
        "update-config-xml-missing-job",
        "create-via-copy",
        "delete-job",
        "delete-job-missing",
    ):
        await story.replay(name)
    story.check()
