"""What must be alike in a recording and in the simulator's answer."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.conformance.wire import Reply

# Present in both or in neither, and with the same value once numbers and hosts are blotted out.
_SAME_VALUE = (
    "Content-Type",
    "Location",
    "Allow",
    "WWW-Authenticate",
    "X-Error",
    "X-Hudson",
    "X-Jenkins",
    "X-More-Data",
    "X-Required-Permission",
    "X-Permission-Implied-By",
    "X-You-Are-Authenticated-As",
    "X-You-Are-In-Group-Disabled",
)
_SAME_PRESENCE = ("Set-Cookie", "X-Jenkins-Session", "X-Text-Size", "Content-Length")
_VOLATILE = {"crumb", "estimatedDuration"}
_ADDRESS = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")
_WORKSPACE = re.compile(r"(/[^\s\"]*|JENKINS_HOME)/workspace/")
_SCRIPT = re.compile(r"(/bin/sh -xe) \S+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} (?=\d)")
_ENCRYPTED = re.compile(r"\{[A-Za-z0-9+/=]{16,}\}")
_CUT = re.compile(r"(.*?)\.\.\. \((\d+) characters in all\)", re.S)
_SPAN = re.compile(r"[\d.]+ (ms|sec|min)( [\d.]+ sec)?")


def blot(text: str) -> str:
    """The text without what differs from run to run."""
    text = _ADDRESS.sub("HOST", text)
    text = _WORKSPACE.sub("WORKSPACE/", text)
    text = _SCRIPT.sub(r"\1 SCRIPT", text)
    text = _DAY.sub("DAY ", text)
    text = _ENCRYPTED.sub("{ENCRYPTED}", text)
    return re.sub(r"\d+(\.\d+)?", "N", _SPAN.sub("SPAN", _UUID.sub("UUID", text)))


def differences(recorded: dict[str, Any], reply: Reply) -> list[str]:
    """What is not alike, one line each."""
    found = []
    if recorded["status"] != reply.status:
        found.append(f"status: recorded {recorded['status']}, got {reply.status}")
    found += _header_differences(recorded["headers"], reply)
    if "json" in recorded:
        try:
            found += shape_differences("json", recorded["json"], json.loads(reply.body))
        except ValueError:
            found.append(f"body is not JSON: {reply.body[:80]!r}")
    elif "body_omitted" not in recorded:
        found += _text_differences(recorded["body"] or "", reply)
    return found


def _header_differences(recorded: list[list[str]], reply: Reply) -> list[str]:
    found = []
    for name in _SAME_VALUE + _SAME_PRESENCE:
        expected = [value for key, value in recorded if key.lower() == name.lower()]
        actual = reply.all(name)
        if name in _SAME_PRESENCE:
            if bool(expected) != bool(actual):
                found.append(f"{name}: recorded {expected}, got {actual}")
        # One of the recorders dropped blanks at the beginning of a value.
        elif [blot(v).lstrip() for v in expected] != [blot(v).lstrip() for v in actual]:
            found.append(f"{name}: recorded {expected}, got {actual}")
    return found


def _text_differences(recorded: str, reply: Reply) -> list[str]:
    expected, actual = blot(recorded), blot(reply.body.decode())
    if any("xml" in value for value in reply.all("Content-Type")):
        # Numbers and classes are compared; estimates and times are blotted out.
        return [] if expected == actual else [f"body: recorded {expected}, got {actual}"]
    if re.fullmatch(r"Jenkins-Crumb:\w+", recorded):
        return [] if re.fullmatch(r"Jenkins-Crumb:\w+", reply.body.decode()) else ["crumb"]
    return [] if expected == actual else [f"body: recorded {expected!r}, got {actual!r}"]


def shape_differences(where: str, expected: Any, actual: Any) -> list[str]:
    """Where two JSON values differ in keys, their order, types, classes or stable values."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        if list(expected) != list(actual):
            return [f"{where}: recorded keys {list(expected)}, got {list(actual)}"]
        return [
            line
            for key in expected
            if key not in _VOLATILE
            for line in shape_differences(f"{where}.{key}", expected[key], actual[key])
        ]
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{where}: recorded {len(expected)} elements, got {len(actual)}"]
        return [
            line
            for index, pair in enumerate(zip(expected, actual, strict=True))
            for line in shape_differences(f"{where}[{index}]", *pair)
        ]
    return (
        []
        if _is_cut_from(expected, actual) or _scalar(expected) == _scalar(actual)
        else [f"{where}: recorded {expected!r}, got {actual!r}"]
    )


def _is_cut_from(expected: Any, actual: Any) -> bool:
    """Whether the recorder kept only the beginning of this text, and its length."""
    cut = _CUT.fullmatch(expected) if isinstance(expected, str) else None
    if cut is None or not isinstance(actual, str):
        return False
    return actual.startswith(cut.group(1)) and len(actual) == int(cut.group(2))


def _scalar(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    return blot(value) if isinstance(value, str) else type(value)
