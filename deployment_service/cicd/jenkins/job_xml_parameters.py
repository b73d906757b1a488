"""The parameters in a job's config.xml: our own, which names the run, and those that its deployment defines."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from deployment_service.cicd.errors import DefinitionInvalid
from deployment_service.cicd.jenkins.config_xml import child, legal, texts
from deployment_service.cicd.port import RUN_ID_PARAMETER
from deployment_service.domain.parameter_definitions import DeclaredParameter, ParameterKind

_PARAMETERS = "hudson.model.ParametersDefinitionProperty"
STRING_PARAMETER = "hudson.model.StringParameterDefinition"
_PARAMETER_TAGS = {
    ParameterKind.STRING: STRING_PARAMETER,
    ParameterKind.TEXT: "hudson.model.TextParameterDefinition",
    ParameterKind.BOOLEAN: "hudson.model.BooleanParameterDefinition",
    ParameterKind.CHOICE: "hudson.model.ChoiceParameterDefinition",
    ParameterKind.SECRET: "hudson.model.PasswordParameterDefinition",
}
_PURPOSE = "Set by the deployment service; leave it empty."


def run_id_description(owner: str) -> str:
    """Return the description of our own parameter in a job: a second place that names its owner."""
    return f"{_PURPOSE} owner={owner}"


def is_run_id_description(description: str, owner: str) -> bool:
    """Return whether a description is ours: of this owner, or of a version that named none."""
    return description.strip() in (_PURPOSE, run_id_description(owner))


def declare(
    properties: ET.Element, owner: str, parameters: Sequence[DeclaredParameter], *, replace: bool
) -> None:
    """Declare our own parameter and these. Without ``replace`` only what isn't declared yet."""
    definitions = child(child(properties, _PARAMETERS), "parameterDefinitions")
    ours = DeclaredParameter(RUN_ID_PARAMETER, description=run_id_description(owner))
    for one in (ours, *parameters):
        found = [element for element in definitions if element.findtext("name") == one.name]
        if one is ours and not replace and any(f.tag != STRING_PARAMETER for f in found):
            raise DefinitionInvalid(
                f"config_xml declares the parameter {RUN_ID_PARAMETER}, but not as a string; "
                "remove it: it is added when the job is created."
            )
        if one is not ours and found and not replace:
            continue
        place = list(definitions).index(found[0]) if found else len(definitions)
        for element in found:
            definitions.remove(element)
        definitions.insert(place, _definition(one))


def _definition(one: DeclaredParameter) -> ET.Element:
    element = ET.Element(_PARAMETER_TAGS[one.kind])
    where = f"parameter_definitions[{one.name}]"
    texts(element, {"name": legal(where, one.name)})
    texts(element, {"description": legal(where, one.description)})
    if one.kind is ParameterKind.CHOICE:
        choices = ET.SubElement(element, "choices", {"class": "java.util.Arrays$ArrayList"})
        array = ET.SubElement(choices, "a", {"class": "string-array"})
        # The first one is Jenkins' default.
        first = [choice for choice in one.choices if choice == one.default_value]
        for choice in [*first, *(c for c in one.choices if c not in first)]:
            texts(array, {"string": legal(where, choice)})
        return element
    texts(element, {"defaultValue": legal(where, one.default_value)})
    if one.kind in (ParameterKind.STRING, ParameterKind.TEXT):
        # With trim, a value that a run sends would not come back as it was sent.
        texts(element, {"trim": "false"})
    return element
