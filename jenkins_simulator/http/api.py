"""`…/api/json`, `…/api/xml`, `…/api/python` of any object."""

from __future__ import annotations

from xml.etree import ElementTree

from jenkins_simulator.http import answers
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call
from jenkins_simulator.remote_api.exported import MalformedTree, pruner_for, to_xml


def serve(call: Call, rest: list[str], value: object, xml_name: str) -> Answer:
    """Answer `api/<form>` for this object; anything else below `api` does not exist."""
    form = rest[0] if len(rest) == 1 else None
    if not rest:
        return answers.page("Remote API")
    if form not in ("json", "xml", "python"):
        raise answers.not_found()
    if form == "json" and call.parameter("jsonp") is not None:
        raise answers.container_error(403, "jsonp forbidden")
    try:
        pruner = pruner_for(call.parameter("tree"), call.parameter("depth"))
    except MalformedTree as malformed:
        raise answers.oops(str(malformed), from_api=True) from malformed
    shown = call.exporter().export(value, pruner)
    if form == "json":
        return answers.api_json(shown, pretty="pretty" in call.parameters)
    if form == "python":
        return answers.api_text(repr(shown), "text/x-python;charset=utf-8")
    xml = to_xml(xml_name, shown)
    xpath = call.parameter("xpath")
    return (
        answers.api_text(xml, "application/xml;charset=UTF-8")
        if xpath is None
        else _xpath(call, xml, xpath)
    )


def _xpath(call: Call, xml: str, xpath: str) -> Answer:
    """The subset of XPath that a client without an XML parser would use: paths to elements."""
    if xpath.endswith("/text()") or "(" in xpath:
        refusal = answers.container_error(403, "primitive XPath result sets forbidden")
        refusal.answer.identified = "api"
        raise refusal
    root = ElementTree.fromstring(xml)
    document = ElementTree.Element("document")
    document.append(root)
    try:
        found = document.findall("." + xpath)
    except (SyntaxError, KeyError) as error:
        raise answers.oops(str(error), from_api=True) from error
    wrapper = call.parameter("wrapper")
    if wrapper is not None:
        inner = "".join(ElementTree.tostring(one, encoding="unicode") for one in found)
        return answers.api_text(f"<{wrapper}>{inner}</{wrapper}>", "application/xml;charset=UTF-8")
    if len(found) == 1:
        one = ElementTree.tostring(found[0], encoding="unicode")
        return answers.api_text(one, "application/xml;charset=UTF-8")
    answer = answers.api_text(
        f"XPath {xpath} matched {len(found)} nodes.", "text/plain;charset=utf-8"
    )
    answer.status = 500 if found else 404
    return answer
