"""How Jenkins writes a config.xml anew: its own order, defaults, indentation and encrypted secrets."""

from __future__ import annotations

import base64
import copy
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_ENCRYPTED = b"\x01\x00\x00\x00\x10"
_PASSWORD = "hudson.model.PasswordParameterDefinition"
_STRING = "hudson.model.StringParameterDefinition"
_SHELL = "hudson.tasks.Shell"
_ORDER = {
    "project": (
        "actions description displayName keepDependencies logRotator properties scm quietPeriod"
        " canRoam disabled blockBuildWhenDownstreamBuilding blockBuildWhenUpstreamBuilding authToken"
        " triggers concurrentBuild builders publishers buildWrappers"
    ),
    "flow-definition": (
        "actions description displayName keepDependencies properties definition quietPeriod"
        " triggers disabled"
    ),
}
_DEFAULTS = {
    "project": {
        "actions": "",
        "description": "",
        "keepDependencies": "false",
        "properties": "",
        "canRoam": "true",
        "disabled": "false",
        "blockBuildWhenDownstreamBuilding": "false",
        "blockBuildWhenUpstreamBuilding": "false",
        "triggers": "",
        "concurrentBuild": "false",
        "builders": "",
        "publishers": "",
        "buildWrappers": "",
    },
    "flow-definition": {
        "actions": "",
        "description": "",
        "keepDependencies": "false",
        "properties": "",
        "triggers": "",
        "disabled": "false",
    },
}
# Empty texts keep both tags; empty objects and collections have one.
_TEXTS = (
    "description",
    "displayName",
    "name",
    "defaultValue",
    "string",
    "command",
    "script",
    "buildNotes",
    "urlOrId",
    "secret",
)


def encrypt(secret: str) -> str:
    """Return a placeholder text for a secret."""
    return "{" + base64.b64encode(_ENCRYPTED + secret.encode()[::-1]).decode() + "}"


def decrypt(text: str) -> str:
    """Return the secret of a text that `encrypt` made; any other text is its own secret."""
    if text.startswith("{") and text.endswith("}"):
        try:
            raw = base64.b64decode(text[1:-1], validate=True)
        except ValueError:
            return text
        if raw.startswith(_ENCRYPTED):
            return raw[len(_ENCRYPTED) :][::-1].decode()
    return text


def rewrite(root: Element) -> Element:
    """Return the document as Jenkins saves it; unknown elements keep their place at the end."""
    saved = copy.deepcopy(root)
    if saved.tag not in _ORDER:
        return saved
    for name, value in _DEFAULTS[saved.tag].items():
        if saved.find(name) is None:
            ElementTree.SubElement(saved, name).text = value or None
    if saved.tag == "project" and saved.find("scm") is None:
        ElementTree.SubElement(saved, "scm", {"class": "hudson.scm.NullSCM"})
    order = {name: place for place, name in enumerate(_ORDER[saved.tag].split())}
    saved[:] = sorted(saved, key=lambda child: order.get(child.tag, len(order)))
    for shell in saved.iter(_SHELL):
        if shell.find("configuredLocalRules") is None:
            ElementTree.SubElement(shell, "configuredLocalRules")
    for definition in saved.iter(_STRING):
        if definition.find("trim") is None:
            ElementTree.SubElement(definition, "trim").text = "false"
    for password in saved.iterfind(f".//{_PASSWORD}/defaultValue"):
        password.text = encrypt(decrypt(password.text or ""))
    return saved


def write(root: Element) -> str:
    """Return the text of a saved document."""
    return "<?xml version='1.1' encoding='UTF-8'?>\n" + "\n".join(_lines(root, ""))


def _lines(element: Element, indent: str) -> list[str]:
    attributes = "".join(f' {name}="{_escape(value)}"' for name, value in element.items())
    tag = element.tag
    if len(element):
        inner = [line for child in element for line in _lines(child, indent + "  ")]
        return [f"{indent}<{tag}{attributes}>", *inner, f"{indent}</{tag}>"]
    text = element.text or ""
    if text.strip() or tag in _TEXTS:
        return [f"{indent}<{tag}{attributes}>{_escape(text)}</{tag}>"]
    return [f"{indent}<{tag}{attributes}/>"]


def _escape(text: str) -> str:
    for character, entity in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&apos;"),
    ):
        text = text.replace(character, entity)
    return text
