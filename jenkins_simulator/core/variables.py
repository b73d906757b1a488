"""The environment variables of builds."""

from __future__ import annotations

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.model import Build, Job
from jenkins_simulator.core.parameters import ParameterKind, ParameterValue


def environment_of(controller: Controller, build: Build) -> dict[str, str]:
    """Return the variables that a build sees."""
    job, root_url = build.job, controller.root_url
    environment = {
        "BUILD_NUMBER": str(build.number),
        "BUILD_ID": str(build.number),
        "BUILD_DISPLAY_NAME": build.display_name,
        "BUILD_TAG": f"jenkins-{job.full_name.replace('/', '-')}-{build.number}",
        "JOB_NAME": job.full_name,
        "JOB_BASE_NAME": job.name,
        "EXECUTOR_NUMBER": str(build.executor_number),
        "NODE_NAME": "built-in",
        "NODE_LABELS": "built-in",
    }
    if job.branch is not None:
        environment["BRANCH_NAME"] = job.branch
    if root_url is not None:
        environment |= {"JENKINS_URL": root_url, "HUDSON_URL": root_url}
        environment |= {"BUILD_URL": root_url + build.url, "JOB_URL": root_url + job.url}
    for value in build.parameters or ():
        environment |= texts_of(controller, value)
    return environment


def texts_of(controller: Controller, value: ParameterValue) -> dict[str, str]:
    """Return the variables that a parameter becomes: several for one that names a build."""
    if value.kind is not ParameterKind.RUN:
        return {value.name: value.text}
    project, _, number = value.text.partition("#")
    job = controller.find(project)
    build = job.builds.get(int(number)) if isinstance(job, Job) and number.isdecimal() else None
    name = value.name
    return {
        name: (controller.root_url or "") + build.url if build else "UNKNOWN",
        name + ".jobName": project,
        name + "_JOBNAME": project,
        name + ".number": number,
        name + "_NUMBER": number,
        name + "_NAME": f"#{number}",
        name + "_RESULT": build.result.name if build and build.result else "UNKNOWN",
    }
