"""Reading and writing the XML of a job's configuration: what its text may be, and small helpers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from xml.parsers.expat import errors as expat_errors

import defusedxml
import defusedxml.ElementTree

from deployment_service.cicd.errors import DefinitionInvalid

MAX_CONFIG_XML_CHARS = 1_000_000

# What XML 1.0 can't express, not even escaped (https://www.w3.org/TR/xml/#charsets).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Jenkins writes `version='1.1'`, which no parser in the standard library reads.
_VERSION_1_1 = re.compile(r"^(\s*<\?xml\s+version\s*=\s*)(['\"])1\.1\2")
_BAD_REFERENCE = expat_errors.codes[expat_errors.XML_ERROR_BAD_CHAR_REF]
_BUILDABLE_ROOTS = ("project", "flow-definition", "matrix-project", "maven2-moduleset")


def parse(config_xml: str, called: str) -> ET.Element:
    """Parse a config.xml of a caller: no DTD, no entities, a kind of job that builds."""
    text = filled(called, config_xml)
    if len(text) > MAX_CONFIG_XML_CHARS:
        raise DefinitionInvalid(f"{called} has more than {MAX_CONFIG_XML_CHARS} characters.")
    try:
        root: ET.Element = defusedxml.ElementTree.fromstring(
            _VERSION_1_1.sub(r"\1\g<2>1.0\2", text).lstrip("\ufeff \t\r\n"), forbid_dtd=True
        )
    except ET.ParseError as error:
        line, column = error.position
        place = f"line {line}, column {column + 1}"
        if error.code == _BAD_REFERENCE:
            raise DefinitionInvalid(
                f"{called} refers to a control character, such as &#x1b;, in {place}. Jenkins' XML 1.1 "
                "can hold it, but this service reads XML 1.0; remove it."
            ) from None
        raise DefinitionInvalid(f"{called} isn't well-formed XML: correct {place}.") from None
    except defusedxml.DefusedXmlException:
        raise DefinitionInvalid(f"{called} has a DTD or entities; remove them.") from None
    if root.tag not in _BUILDABLE_ROOTS:
        raise DefinitionInvalid(
            f"{called} isn't a job that can be built: its outermost element must be one of "
            + ", ".join(_BUILDABLE_ROOTS)
            + "."
        )
    return root


def text(root: ET.Element) -> str:
    try:
        text = ET.tostring(root, encoding="unicode")
    except RecursionError:
        raise DefinitionInvalid("config_xml is nested too deeply; simplify it.") from None
    # A bare CR would be read back as LF.
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + text.replace("\r", "&#13;")


def child(parent: ET.Element, tag: str) -> ET.Element:
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found


def texts(parent: ET.Element, children: Mapping[str, str]) -> None:
    for tag, text in children.items():
        ET.SubElement(parent, tag).text = text


def filled(field: str, text: str) -> str:
    if not text.strip():
        raise DefinitionInvalid(f"{field} is empty.")
    return legal(field, text)


def legal(field: str, text: str) -> str:
    illegal = _ILLEGAL.search(text)
    if illegal:
        raise DefinitionInvalid(
            f"{field} has a character that XML can't hold: U+{ord(illegal.group()):04X}; remove it."
        )
    return text
