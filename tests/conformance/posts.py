"""The posts of a story, compared with those that the recorded receiver got."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.comparison import blot, shape_differences
from tests.conformance.numbers import Numbers
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import FIRST_BUILD_S
from tests.conformance.story import Story, recording
from tests.conformance.timing import Post, timing_differences

_HEADERS = ("Content-Type", "User-Agent", "Host", "Accept", "Connection")


def compare_posts(
    story: Story, receiver: Receiver, name: str, *, job: str, phases: tuple[str, ...] = ()
) -> None:
    """Compare the posts of a job; `phases` are those that the recorder kept, if not all."""
    recorded = recording(story.folder, name)["requests"]
    got = [
        (request, json.loads(request[2]), at)
        for request, at in zip(receiver.requests, receiver.times, strict=True)
    ]
    got = [one for one in got if one[1]["name"] == job]
    got = [one for one in got if not phases or one[1]["build"]["phase"] in phases]
    if len(got) != len(recorded):
        sent = [one[1]["build"]["phase"] for one in got]
        story.fail(name, [f"recorded {len(recorded)} posts, got {sent}"])
        return
    numbers = Numbers()
    for entry, (request, body, _) in zip(recorded, got, strict=True):
        story.fail(name, _post_differences(entry, request, body))
        story.fail(name, numbers.compare_json(entry["json"], body))
    story.fail(
        name,
        timing_differences(
            [_post(one["json"], _second(one)) for one in recorded],
            [_post(body, at) for _, body, at in got],
            first_build_s=FIRST_BUILD_S,
        ),
    )


def _post_differences(
    entry: dict[str, Any], request: tuple[str, list[tuple[str, str]], str], body: Any
) -> list[str]:
    line, headers, _ = request
    found = shape_differences("post", entry["json"], body)
    if blot(entry["request_line"]) != blot(line):
        found.append(f"recorded {entry['request_line']}, got {line}")
    for name in _HEADERS:
        expected = [blot(value) for key, value in entry["headers"] if key == name]
        if expected != [blot(value) for key, value in headers if key == name]:
            found.append(f"{name}: recorded {expected}")
    if [key for key, _ in entry["headers"]] != [key for key, _ in headers]:
        found.append("other headers")
    return found


def _second(entry: dict[str, Any]) -> float:
    return float(entry.get("t_rel_s", entry.get("t_rel_to_signal_s", 0.0)))


def _post(body: Any, at_s: float) -> Post:
    build = body["build"]
    return Post(f"{body['url']}{build['number']}", build["phase"], at_s)
