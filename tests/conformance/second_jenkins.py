"""A simulator set up like the second Jenkins that was recorded (folders 11 to 15), and its jobs."""

from __future__ import annotations

import dataclasses
from typing import Any
from xml.sax.saxutils import escape

from jenkins_simulator import (
    ALL_PERMISSIONS,
    READ_ONLY,
    Permission,
    SimulatedUser,
    SimulatorConfig,
)

PLUGIN = "com.tikal.hudson.plugins.notification."
FIRST_BUILD_S = 0.5
_ITEMS = READ_ONLY | {Permission.ITEM_BUILD, Permission.ITEM_CANCEL}
USERS = {
    "lab": ALL_PERMISSIONS,
    "mia": _ITEMS,
    "nothing": frozenset(),
    "nobuild": READ_ONLY,
    "nocancel": READ_ONLY | {Permission.ITEM_BUILD},
    "noconfig": _ITEMS | {Permission.ITEM_CREATE},
    "nocred": _ITEMS | {Permission.ITEM_CONFIGURE},
}


def second_config(**changes: Any) -> SimulatorConfig:
    """Bare plugins, version 1.17 of Notification, and the accounts of the recordings."""
    users = {name: SimulatedUser(f"{name}-pw", f"{name}-token", may) for name, may in USERS.items()}
    config = SimulatorConfig(
        plugins=frozenset(),
        notification_plugin="1.17",
        users=users,
        first_build_s=FIRST_BUILD_S,
        stop_saves_builds=False,
    )
    return dataclasses.replace(config, **changes)


def notification(url: str, *, secret: bool = False, loglines: int = 0, retries: int = 0) -> str:
    """The property with the recorded endpoint: without `buildNotes`."""
    kind = "SECRET" if secret else "PUBLIC"
    return (
        f'<{PLUGIN}HudsonNotificationProperty plugin="notification@1.17"><endpoints><{PLUGIN}Endpoint>'
        f"<protocol>HTTP</protocol><format>JSON</format><urlInfo><urlOrId>{escape(url)}</urlOrId>"
        f"<urlType>{kind}</urlType></urlInfo><event>all</event><timeout>30000</timeout>"
        f"<loglines>{loglines}</loglines><retries>{retries}</retries><branch>.*</branch>"
        f"</{PLUGIN}Endpoint></endpoints></{PLUGIN}HudsonNotificationProperty>"
    )


def defined(*definitions: str) -> str:
    """The property with these parameter definitions."""
    wrapper = "hudson.model.ParametersDefinitionProperty"
    listed = "".join(definitions)
    return f"<{wrapper}><parameterDefinitions>{listed}</parameterDefinitions></{wrapper}>"


def string(name: str, default: str = "", *, kind: str = "String") -> str:
    """A string parameter (or a text), as recorded."""
    tag = f"hudson.model.{kind}ParameterDefinition"
    return f"<{tag}><name>{name}</name><defaultValue>{default}</defaultValue><trim>false</trim></{tag}>"


def parameter(kind: str, name: str, inner: str = "", *, package: str = "hudson.model.") -> str:
    """A parameter of any kind."""
    tag = f"{package}{kind}ParameterDefinition"
    return f"<{tag}><name>{name}</name>{inner}</{tag}>"


def choice(name: str, *choices: str) -> str:
    """A choice parameter."""
    listed = "".join(f"<string>{escape(one)}</string>" for one in choices)
    array = f'<choices class="java.util.Arrays$ArrayList"><a class="string-array">{listed}</a></choices>'
    return parameter("Choice", name, array)


def project(
    command: str,
    *properties: str,
    concurrent: bool = False,
    publishers: str = "",
    description: str = "lab freestyle",
    disabled: bool = False,
    extra: str = "",
) -> str:
    """A freestyle job's config.xml as the recorder posted it."""
    inner = f"<publishers>{publishers}</publishers>"
    return (
        "<?xml version='1.1' encoding='UTF-8'?>"
        f"<project><description>{description}</description><keepDependencies>false</keepDependencies>"
        f'<properties>{"".join(properties)}</properties><scm class="hudson.scm.NullSCM"/>'
        f"<canRoam>true</canRoam><disabled>{str(disabled).lower()}</disabled><triggers></triggers>"
        f"<concurrentBuild>{str(concurrent).lower()}</concurrentBuild><builders><hudson.tasks.Shell>"
        f"<command>{escape(command)}</command></hudson.tasks.Shell></builders>{inner}"
        f"<buildWrappers/>{extra}</project>"
    )


def flow(script: str, *properties: str) -> str:
    """A Pipeline's config.xml."""
    return (
        f"<flow-definition><description/><properties>{''.join(properties)}</properties>"
        '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">'
        f"<script>{escape(script)}</script><sandbox>true</sandbox></definition></flow-definition>"
    )
