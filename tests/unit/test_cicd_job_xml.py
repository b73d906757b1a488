"""The config.xml of our jobs. Defends P3 (the run id is declared) and P7 (the owner mark)."""

import xml.etree.ElementTree as ET
from contextlib import suppress
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.errors import DefinitionInvalid
from deployment_service.cicd.jenkins.job_xml import (
    JobKind,
    JobSpec,
    ScmSource,
    parse_owner,
    parse_webhook,
    render_job_xml,
    secret_id_of,
    with_webhook,
)
from deployment_service.cicd.port import WebhookEndpoint
from tests.support.parameters import strings

JOB = "7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11"
OWNER = "6f1c3f9e-0d7b-4f0e-9a53-2f4f0d9b8a11"
SHELL = JobSpec(JobKind.FREESTYLE_SHELL, freestyle_shell='./deploy.sh "$ENVIRONMENT"')
SCRIPT = JobSpec(JobKind.PIPELINE_SCRIPT, pipeline_script="node { sh 'true' }")
SCM = JobSpec(JobKind.PIPELINE_SCM, scm=ScmSource("ssh://git@git/shop.git"))
MINIMAL = JobSpec(JobKind.CONFIG_XML, config_xml="<?xml version='1.1'?><project/>")
ALL_KINDS = pytest.mark.parametrize(
    "spec", [SHELL, SCRIPT, SCM, MINIMAL], ids=lambda s: s.kind.name
)

PARAMETERS = "properties/hudson.model.ParametersDefinitionProperty/parameterDefinitions"
NOTIFICATION = "properties/com.tikal.hudson.plugins.notification.HudsonNotificationProperty"
ENDPOINT = f"{NOTIFICATION}/endpoints/com.tikal.hudson.plugins.notification.Endpoint"

LEGAL = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"],
        exclude_characters="\ufffe\uffff",
        include_characters="\t\n\r",
    )
).filter(lambda text: text.strip())


def render(
    spec,
    parameters=None,
    url="https://hooks/x?a=1&token=v1.7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11.k1.x",
    owner=OWNER,
):
    webhook = WebhookEndpoint(JOB, "k1", url) if url else None
    text = render_job_xml(
        spec, owner=owner, parameters=strings(**(parameters or {})), webhook=webhook
    )
    return ET.fromstring(text.encode())


def given_xml(text):
    return JobSpec(JobKind.CONFIG_XML, config_xml=text)


@ALL_KINDS
def test_every_kind_declares_its_parameters_is_marked_and_reports(spec):
    root = render(spec, {"ENVIRONMENT": "prod", "VERSION": "1 <&> 2"})

    definitions = root.find(PARAMETERS)
    assert [
        (d.tag, d.findtext("name"), d.findtext("defaultValue"), d.findtext("trim"))
        for d in definitions
    ] == [
        ("hudson.model.StringParameterDefinition", "DEPLOYMENT_RUN_ID", "", "false"),
        ("hudson.model.StringParameterDefinition", "ENVIRONMENT", "prod", "false"),
        ("hudson.model.StringParameterDefinition", "VERSION", "1 <&> 2", "false"),
    ]
    assert parse_owner(root.findtext("description")) == OWNER
    assert {e.tag: e.text for e in root.find(ENDPOINT).iter() if not len(e)} == {
        "protocol": "HTTP",
        "format": "JSON",
        "urlOrId": "https://hooks/x?a=1&token=v1.7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11.k1.x",
        "urlType": "PUBLIC",
        "event": "all",
        "timeout": "2000",
        "loglines": "0",
        "buildNotes": None,
        "retries": "0",
        "branch": ".*",
    }


@ALL_KINDS
def test_without_a_webhook_there_is_no_endpoint(spec):
    assert render(spec, url=None).find(NOTIFICATION) is None


def test_a_script_is_always_sandboxed():
    definition = render(SCRIPT).find("definition")
    assert definition.get("class") == "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"
    assert definition.findtext("sandbox") == "true"
    assert definition.findtext("script") == "node { sh 'true' }"


@given(LEGAL)
def test_no_text_can_break_out_of_its_element(text):
    root = render(JobSpec(JobKind.PIPELINE_SCRIPT, pipeline_script=text), {"P": text})
    assert root.findtext("definition/script") == text
    assert root.find("definition/sandbox").text == "true"
    assert root.find(PARAMETERS)[1].findtext("defaultValue") == text


def test_a_pipeline_from_scm_names_its_branch_exactly():
    definition = render(SCM).find("definition")
    assert definition.get("class") == "org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition"
    git = definition.find("scm")
    assert git.get("class") == "hudson.plugins.git.GitSCM"
    remote = "userRemoteConfigs/hudson.plugins.git.UserRemoteConfig"
    assert git.findtext(f"{remote}/url") == "ssh://git@git/shop.git"
    assert git.find(f"{remote}/credentialsId") is None
    assert git.findtext("branches/hudson.plugins.git.BranchSpec/name") == "refs/heads/main"
    assert definition.findtext("scriptPath") == "Jenkinsfile"

    source = ScmSource("https://git/x", "refs/tags/v1", "ci/Deploy", "key")
    definition = render(JobSpec(JobKind.PIPELINE_SCM, scm=source)).find("definition")
    assert definition.findtext(f"scm/{remote}/credentialsId") == "key"
    assert definition.findtext("scm/branches/hudson.plugins.git.BranchSpec/name") == "refs/tags/v1"
    assert definition.findtext("scriptPath") == "ci/Deploy"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(JobKind.FREESTYLE_SHELL, freestyle_shell=" \n"), "freestyle_shell is empty"),
        (JobSpec(JobKind.PIPELINE_SCRIPT, pipeline_script="a\x1bb"), r"pipeline_script.*U\+001B"),
        (JobSpec(JobKind.PIPELINE_SCM), "pipeline_scm.url is empty"),
        (JobSpec(JobKind.PIPELINE_SCM, scm=ScmSource("u", "\x00")), r"pipeline_scm.branch.*0000"),
        (JobSpec(JobKind.CONFIG_XML), "config_xml is empty"),
    ],
)
def test_an_impossible_definition_is_refused_by_field(spec, field):
    with pytest.raises(DefinitionInvalid, match=field):
        render(spec)


def test_a_parameter_is_refused_if_xml_cannot_hold_it_or_its_name_is_ours():
    with pytest.raises(DefinitionInvalid, match=r"parameter_definitions\[P\].*U\+FFFF"):
        render(SHELL, {"P": "\uffff"})
    with pytest.raises(DefinitionInvalid, match=r"U\+D800"):
        render(SHELL, {"P": "\ud800"})
    with pytest.raises(DefinitionInvalid, match="DEPLOYMENT_RUN_ID is reserved"):
        render(SHELL, {"DEPLOYMENT_RUN_ID": "x"})


class TestGivenConfigXml:
    XML = """<?xml version='1.1' encoding='UTF-8'?>
    <flow-definition plugin="workflow-job@1">
      <description>Ours &amp; theirs. Managed by the deployment service; do not edit. owner=old</description>
      <properties>
        <hudson.model.ParametersDefinitionProperty><parameterDefinitions>
          <hudson.model.ChoiceParameterDefinition><name>ENVIRONMENT</name></hudson.model.ChoiceParameterDefinition>
        </parameterDefinitions></hudson.model.ParametersDefinitionProperty>
        <com.tikal.hudson.plugins.notification.HudsonNotificationProperty><endpoints>
          <com.tikal.hudson.plugins.notification.Endpoint>
            <urlInfo><urlOrId>http://other</urlOrId></urlInfo>
          </com.tikal.hudson.plugins.notification.Endpoint>
        </endpoints></com.tikal.hudson.plugins.notification.HudsonNotificationProperty>
      </properties>
      <definition class="x"><script>keep</script></definition>
    </flow-definition>"""

    def test_only_what_is_missing_is_added(self):
        root = render(given_xml(self.XML), {"ENVIRONMENT": "prod", "VERSION": "1"})
        names = [(d.tag.rpartition(".")[2], d.findtext("name")) for d in root.find(PARAMETERS)]
        assert names == [
            ("ChoiceParameterDefinition", "ENVIRONMENT"),
            ("StringParameterDefinition", "DEPLOYMENT_RUN_ID"),
            ("StringParameterDefinition", "VERSION"),
        ]
        urls = [endpoint.findtext("urlInfo/urlOrId") for endpoint in root.iterfind(ENDPOINT)]
        assert urls == [
            "http://other",
            "https://hooks/x?a=1&token=v1.7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11.k1.x",
        ]
        assert root.findtext("definition/script") == "keep"
        assert root.get("plugin") == "workflow-job@1"

    def test_the_mark_replaces_any_other(self):
        description = render(given_xml(self.XML)).findtext("description")
        assert description.startswith("Ours & theirs.")
        assert description.count("owner=") == 1
        assert parse_owner(description) == OWNER

    def test_it_can_be_rendered_from_its_own_result(self):
        once = render_job_xml(
            SHELL,
            owner=OWNER,
            parameters=strings(A="1"),
            webhook=WebhookEndpoint(JOB, "k1", f"http://h?token=v1.{JOB}.k1.x"),
        )
        again = render_job_xml(
            given_xml(once),
            owner=OWNER,
            parameters=strings(A="1"),
            webhook=WebhookEndpoint(JOB, "k1", f"http://h?token=v1.{JOB}.k1.x"),
        )
        assert again == once

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("<project>", "well-formed.*line 1"),
            ("nonsense", "well-formed"),
            ("<html/>", "outermost element"),
            ("<com.cloudbees.hudson.plugins.folder.Folder/>", "outermost element"),
            ("<!DOCTYPE p [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><project>&x;</project>", "DTD"),
            ("<!DOCTYPE p [<!ENTITY a 'aa'>]><project>&a;</project>", "DTD"),
            ("<!DOCTYPE project SYSTEM 'http://x/y.dtd'><project/>", "DTD"),
            ("<?xml version='1.1'?><project>&#x1b;</project>", "control character.*line 1.*1.1"),
            ("<project>" + "<a>" * 50_000 + "</a>" * 50_000 + "</project>", "nested|well-formed"),
            ("<project>" + " " * 1_000_000 + "</project>", "characters"),
            (
                "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
                "<hudson.model.ChoiceParameterDefinition><name>DEPLOYMENT_RUN_ID</name>"
                "</hudson.model.ChoiceParameterDefinition></parameterDefinitions>"
                "</hudson.model.ParametersDefinitionProperty></properties></project>",
                "DEPLOYMENT_RUN_ID",
            ),
        ],
    )
    def test_nonsense_is_refused(self, text, why):
        with pytest.raises(DefinitionInvalid, match=why):
            render(given_xml(text))

    @given(st.text())
    def test_any_text_is_a_job_or_refused(self, text):
        with suppress(DefinitionInvalid):
            render(given_xml(text))


def test_the_owner_is_found_only_in_a_mark():
    assert parse_owner(None) is None
    assert parse_owner("owner=x") is None
    owner = str(uuid4())
    assert parse_owner(render(SHELL, owner=owner).findtext("description")) == owner
    with pytest.raises(ValueError, match="owner"):
        render(SHELL, owner="a b")


class TestWebhooks:
    """P7: where the token is, and that only our own endpoint is ever rewritten."""

    PUBLIC = WebhookEndpoint(JOB, "k1", f"http://h?token=v1.{JOB}.k1.x")
    SECRET = WebhookEndpoint(JOB, "k2", f"http://h?token=v1.{JOB}.k2.x", secret_id_of(JOB))

    def test_a_secret_endpoint_names_the_credential_and_nothing_of_the_url(self):
        text = render_job_xml(SHELL, owner=OWNER, parameters=(), webhook=self.SECRET)
        info = ET.fromstring(text.encode()).find(f"{ENDPOINT}/urlInfo")
        assert info is not None
        assert (info.findtext("urlOrId"), info.findtext("urlType")) == (secret_id_of(JOB), "SECRET")
        assert "token=" not in text
        assert parse_webhook(text) == (True, "k2")
        assert parse_owner(text) == OWNER

    @pytest.mark.parametrize("new", [PUBLIC, SECRET])
    def test_our_endpoint_is_rewritten_and_others_stay(self, new):
        other = WebhookEndpoint("o", "k1", "http://other")
        text = render_job_xml(SHELL, owner=OWNER, parameters=(), webhook=other)
        assert with_webhook(text, new) is None
        text = render_job_xml(given_xml(text), owner=OWNER, parameters=(), webhook=self.PUBLIC)
        changed = with_webhook(text, new)
        assert changed is not None
        urls = [
            e.findtext("urlInfo/urlOrId")
            for e in ET.fromstring(changed.encode()).iterfind(ENDPOINT)
        ]
        assert urls == ["http://other", new.secret_id or new.url]
        assert parse_webhook(changed) == (bool(new.secret_id), new.key_id)
        assert with_webhook(changed, new) == changed

    def test_without_a_mark_nothing_is_said(self):
        assert parse_webhook(None) is None
        assert parse_webhook(render(SHELL, url=None).findtext("description")) is None
