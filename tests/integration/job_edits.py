"""What a person or a seed job does to a job in Jenkins: each edit removes one sign that the job is ours."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from jenkins_simulator import JenkinsSimulator

NAME = "demo.web"
Edit = Callable[[ElementTree.Element], object]


def edit(jenkins: JenkinsSimulator, *edits: Edit) -> None:
    """Change a job as a person or a seed job does."""
    job = jenkins.job(NAME)
    for change in edits:
        change(job.xml)
    job.update(job.xml, job.xml_version)


def description(root: ElementTree.Element) -> None:
    found = root.find("description")
    assert found is not None
    found.text = "Deploys the shop. Ask Ada."


def parameters(root: ElementTree.Element) -> None:
    properties = root.find("properties")
    assert properties is not None
    for found in properties.findall("hudson.model.ParametersDefinitionProperty"):
        properties.remove(found)


def endpoint(root: ElementTree.Element) -> None:
    properties = root.find("properties")
    assert properties is not None
    for found in list(properties):
        if "notification" in found.tag:
            properties.remove(found)
