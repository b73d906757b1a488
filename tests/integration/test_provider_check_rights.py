"""CheckProvider: what the account may do, tried without changing anything; plugin, reading, webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from deployment_service.cicd.jenkins.job_xml import JobKind, JobSpec, render_job_xml
from deployment_service.cicd.port import WebhookEndpoint
from deployment_service.v1 import admin_service_pb2 as pb
from jenkins_simulator import (
    JenkinsSimulator,
    Permission,
    RequestFault,
)
from tests.integration.cicd_harness import FOLDER
from tests.integration.provider_check_harness import (
    DEPLOYER,
    NEEDED,
    api,
    check,
    contents,
    create,
    jenkins,
    jenkins_with,
    not_proven,
    of_kind,
    one_of_kind,
    proven_wrong,
    proxy,
    severity,
    texts,
)
from tests.support.front_proxy import Passing

__all__ = ["api", "jenkins", "proxy"]  # the fixtures


class TestPermissions:
    """Each permission that the settings need, taken away alone."""

    @pytest.mark.parametrize(
        ("taken", "said", "how_bad"),
        [
            (Permission.OVERALL_READ, "lacks the permission Overall/Read", "ERROR"),
            (Permission.ITEM_READ, "the account lacks Job/Read", "WARNING"),
            (Permission.ITEM_BUILD, "lacks the permission Job/Build on the job 'app'", "ERROR"),
            (Permission.ITEM_CREATE, "lacks the permission Job/Create in the root", "ERROR"),
            (Permission.ITEM_CONFIGURE, "lacks the permission Job/Configure", "WARNING"),
            (Permission.CREDENTIALS_VIEW, "lacks the permission Credentials/View", "WARNING"),
            (Permission.CREDENTIALS_CREATE, "lacks the permission Credentials/Create", "WARNING"),
        ],
    )
    async def test_one_missing(self, api, jenkins, taken, said, how_bad):
        jenkins.set_permissions(DEPLOYER, NEEDED - {taken})
        before = contents(jenkins)
        answer = await create(api, jenkins.url)
        about = [*of_kind(answer, "PERMISSION"), *of_kind(answer, "SECRETS")]
        (found,) = [one for one in about if said in one.message]
        assert severity(found) == how_bad
        assert "rant" in found.message or "Give" in found.message
        others = [one for one in about if severity(one) != "INFO" and one != found]
        assert others == []
        assert contents(jenkins) == before

    @pytest.mark.parametrize("untried", [Permission.ITEM_CANCEL, Permission.ITEM_DELETE])
    async def test_what_could_only_be_tried_by_doing_it_is_named(self, api, jenkins, untried):
        jenkins.set_permissions(DEPLOYER, NEEDED - {untried})
        answer = await check(api, jenkins.url)
        name = "Job/Cancel" if untried is Permission.ITEM_CANCEL else "Job/Delete"
        assert any(name in text and "Not tested" in text for text in texts(answer, "INFO"))

    @pytest.mark.parametrize("folder", ["shop", "sub/deep"])
    async def test_each_folder_is_tried_by_itself(self, api, jenkins, folder):
        jenkins.create_job("sub", FOLDER)
        jenkins.create_job("sub/deep", FOLDER)
        jenkins.requests.clear()
        await check(api, jenkins.url, job_folder=folder)
        path = "/job/" + folder.replace("/", "/job/")
        assert jenkins.requests.count("POST", f"{path}/createItem") == 1
        assert jenkins.requests.count("POST", "^/createItem") == 0

    async def test_security_that_is_off_is_told_and_nothing_is_tried_by_get(
        self, api, jenkins, proxy
    ):
        def off(passing: Passing) -> None:
            passing.answer = passing.answer.replace(b'"useSecurity":true', b'"useSecurity":false')

        proxy.rewrite_answer.append(off)
        answer = await check(api, proxy.url)
        found = one_of_kind(answer, "PERMISSION")
        assert "checks no permissions" in found.message
        assert severity(found) == "WARNING"
        assert proxy.count("GET", "buildWithParameters") == 0

    async def test_only_existing_jobs_need_no_more_than_to_build_them(self, api, jenkins):
        few = {
            Permission.OVERALL_READ,
            Permission.ITEM_READ,
            Permission.ITEM_BUILD,
            Permission.ITEM_CANCEL,
        }
        jenkins.set_permissions(DEPLOYER, frozenset(few))
        answer = await check(api, jenkins.url, allowed_job_kinds=[pb.JOB_KIND_EXISTING])
        assert texts(answer, "ERROR", "WARNING") == []
        assert "Job/Delete" not in " ".join(texts(answer, "INFO"))

    async def test_anonymous_lacks_them_one_by_one(self, api, jenkins):
        jenkins.controller.anonymous_permissions = NEEDED - {Permission.ITEM_CREATE}
        answer = await check(api, jenkins.url, username="", api_token="")
        (found,) = [one for one in of_kind(answer, "PERMISSION") if severity(one) == "ERROR"]
        assert "'anonymous' lacks the permission Job/Create" in found.message

    async def test_a_firewall_that_refuses_posts_is_no_missing_permission(self, api, proxy):
        proxy.answer("POST", "createItem", 403, "<html>blocked</html>")
        answer = await check(api, proxy.url)
        said = [text for text in texts(answer, "INFO") if "Job/Create" in text]
        assert any("could not be determined" in text for text in said)
        assert texts(answer, "ERROR") == []


class TestFolders:
    @pytest.mark.parametrize("field", ["job_folder", "allowed_folders"])
    async def test_a_job_is_no_folder(self, api, jenkins, field):
        fields: dict[str, Any] = {"job_folder": "shop"}
        fields |= {field: "shop/web" if field == "job_folder" else ["shop", "shop/web"]}
        found = await proven_wrong(api, jenkins.url, "FOLDER", **fields)
        assert "'shop/web' is a job in Jenkins, not a folder" in found.message
        assert found.field == field

    @pytest.mark.parametrize(("name", "spelled"), [("gone", "gone"), ("shop/gone", "shop/gone")])
    async def test_one_that_is_not_shown_may_be_made_later(self, api, jenkins, name, spelled):
        found = await not_proven(api, jenkins.url, "FOLDER", job_folder=name)
        assert severity(found) == "ERROR"
        assert f"no folder {spelled!r}" in found.message

    async def test_one_that_may_only_be_discovered(self, api, jenkins):
        jenkins.set_permissions(
            DEPLOYER, NEEDED - {Permission.ITEM_READ} | {Permission.ITEM_DISCOVER}
        )
        found = one_of_kind(await check(api, jenkins.url, job_folder="shop"), "FOLDER")
        assert "grant Job/Read on it" in found.message

    async def test_new_jobs_would_go_where_none_is_allowed(self, api, jenkins):
        answer = await check(api, jenkins.url, allowed_folders=["shop"])
        (found,) = of_kind(answer, "FOLDER")
        assert "deployments whose job has no full_name are rejected" in found.message
        assert not of_kind(
            await check(api, jenkins.url, allowed_folders=["shop"], job_folder="shop"), "FOLDER"
        )

    async def test_an_empty_one_shows_no_job_to_try(self, api, jenkins):
        jenkins.create_job("empty", FOLDER)
        answer = await check(api, jenkins.url, job_folder="empty")
        assert texts(answer, "ERROR") == []
        assert any("no job in the folder 'empty'" in text for text in texts(answer, "WARNING"))

    async def test_a_new_jenkins_has_no_job_to_try_for_an_administrator(self, api):
        async with JenkinsSimulator() as empty:
            answer = await create(api, empty.url, username="admin")
            assert texts(answer, "ERROR", "WARNING") == []

    async def test_more_folders_than_are_tried(self, api, jenkins):
        for number in range(12):
            jenkins.create_job(f"f{number}", FOLDER)
        folders = [f"f{number}" for number in range(12)]
        answer = await check(api, jenkins.url, allowed_folders=folders)
        assert one_of_kind(answer, "INCOMPLETE")


class TestReporting:
    @pytest.mark.parametrize("plugin", [None, "1.19"])
    async def test_the_plugin_by_the_list_of_plugins(self, api, plugin):
        async with jenkins_with(notification_plugin=plugin) as jenkins:
            found = one_of_kind(await create(api, jenkins.url, username="admin"), "PLUGIN")
            assert severity(found) == ("INFO" if plugin else "WARNING")
            assert ("1.19" if plugin else "Install the plugin") in found.message

    async def test_the_plugin_by_a_jobs_property(self, api, jenkins):
        endpoint = WebhookEndpoint("id", "k1", "https://hooks.internal/x")
        spec = JobSpec(JobKind.FREESTYLE_SHELL, freestyle_shell="true")
        jenkins.create_job(
            "ours", render_job_xml(spec, owner="ours", parameters=(), webhook=endpoint)
        )
        found = one_of_kind(await check(api, jenkins.url), "PLUGIN")
        assert "is installed" in found.message

    async def test_the_plugin_does_not_show(self, api, jenkins):
        found = one_of_kind(await check(api, jenkins.url), "PLUGIN")
        assert severity(found) == "INFO"
        assert "can't see whether Jenkins has the Notification plugin" in found.message

    @pytest.mark.parametrize("endpoint", ["queue", "computer"])
    @pytest.mark.parametrize("status", [403, 500])
    async def test_what_cannot_be_read_is_told(self, api, jenkins, endpoint, status):
        jenkins.faults.add(RequestFault(path=f"/{endpoint}/api", jenkins_status=status))
        found = one_of_kind(await check(api, jenkins.url), "READING")
        what = "queue" if endpoint == "queue" else "executors"
        assert f"Jenkins' {what} can't be read" in found.message

    @pytest.mark.parametrize(
        ("fields", "how_bad", "said"),
        [
            ({"webhook_base_url": "https://h.example/x"}, "INFO", "https://h.example/x/en/demo/"),
            ({"webhook_base_url": "http://h.example"}, "WARNING", "without encryption"),
            ({"webhook_base_url": ""}, "INFO", "Jobs get no webhook"),
            ({"webhook_base_url": "", "reporting": pb.REPORTING_WEBHOOK}, "WARNING", "no webhook"),
            ({"reporting": pb.REPORTING_POLLING}, "INFO", "polling"),
        ],
    )
    async def test_how_builds_reach_the_gateway(self, api, jenkins, fields, how_bad, said):
        found = one_of_kind(await check(api, jenkins.url, **fields), "WEBHOOKS")
        assert severity(found) == how_bad
        assert said in found.message
