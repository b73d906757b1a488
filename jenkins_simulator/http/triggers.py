"""`build` and `buildWithParameters`, with every way they refuse."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from jenkins_simulator.core.model import Cause, Job, QueueItem
from jenkins_simulator.core.parameters import BadParameter, values_from_form, values_from_request
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call

_MOST_DIGITS = 18
_CREATED = 201


def build(call: Call, job: Job) -> Answer:
    """`build`: for jobs without parameters, and the classic form for those with."""
    quiet_period_s = _delay_s(call)
    _check_buildable(job)
    definitions = job.config.parameters
    if definitions is not None and call.method != "POST":
        raise answers.post_required()
    by_token = _check_permission(call, job)
    if definitions is None:
        item, _ = call.controller.schedule(job, None, _cause(call, by_token), quiet_period_s)
        return answers.nothing(201, _location(call, item))
    submitted = call.parameter("json")
    if submitted is None:
        raise answers.container_error(400, "This page expects a form submission")
    try:
        form = json.loads(submitted)
        values = values_from_form(definitions, form)
    except (ValueError, BadParameter) as error:
        raise answers.oops(str(error)) from error
    cause = Cause(user=call.caller.name)
    item, _ = call.controller.schedule(job, values, cause, quiet_period_s)
    given = form if isinstance(form, dict) else {}
    return answers.nothing(_status(given), _redirect(call, item, str(given.get("redirectTo", ""))))


def _redirect(call: Call, item: QueueItem, target: str) -> str:
    """Where the classic form redirects to: its `redirectTo` within Jenkins, or the job."""
    if urlsplit(target).scheme or target.replace("\\", "/").startswith("//"):
        return _location(call, item)
    return call.base + target if target.startswith("/") else call.directory + target


def _status(form: dict[str, object]) -> int:
    """The classic form chooses how it is answered; what is no number means 201."""
    try:
        return int(str(form.get("statusCode", _CREATED)))
    except ValueError:
        return _CREATED


def build_with_parameters(call: Call, job: Job) -> Answer:
    """`buildWithParameters`: 201 for a new queue item, 303 when folded into an old one."""
    quiet_period_s = _delay_s(call)
    by_token = _check_permission(call, job)
    _check_buildable(job)
    if job.config.parameters is None:
        raise answers.oops(f"{job.full_name} is not parameterized")
    try:
        values = values_from_request(job.config.parameters, call.submitted())
    except BadParameter as error:
        raise answers.oops(str(error)) from error
    item, created = call.controller.schedule(job, values, _cause(call, by_token), quiet_period_s)
    return answers.nothing(201 if created else 303, _location(call, item))


def _location(call: Call, item: QueueItem) -> str:
    return f"{call.base}/queue/item/{item.id}/"


def _check_buildable(job: Job) -> None:
    if not job.is_buildable:
        raise answers.error(409, f"{job.full_name} is not buildable")


def _check_permission(call: Call, job: Job) -> bool:
    """Whether the job's own trigger token let the call in, which needs neither user nor POST."""
    token = call.parameter("token")
    if job.config.auth_token is not None and token is not None:
        if token == job.config.auth_token:
            return True
        raise answers.error(403, "Invalid token provided.")
    call.require(Permission.ITEM_BUILD)
    if call.method != "POST":
        raise answers.post_required(with_allow=True)
    return False


def _cause(call: Call, by_token: bool) -> Cause:
    if by_token:
        return Cause(remote_address=call.request.remote or "", note=call.parameter("cause"))
    return Cause(user=call.caller.name)


def _delay_s(call: Call) -> float | None:
    """`delay`: milliseconds, or seconds with `sec`; Jenkins counts whole seconds only."""
    delay = call.parameter("delay")
    if delay is None:
        return None
    text = delay.strip()
    milliseconds = 1
    if text.endswith(("sec", "secs")):
        text, milliseconds = text[: text.rindex("sec")].strip(), 1000
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > _MOST_DIGITS:
        raise answers.oops(f"Invalid time duration value: {delay}")
    total_ms = int(text) * milliseconds
    seconds = abs(total_ms) // 1000
    return float(_as_java_int(-seconds if total_ms < 0 else seconds))


def _as_java_int(number: int) -> int:
    """A number as Java's 32 bits hold it: large ones wrap around."""
    return (number + 2**31) % 2**32 - 2**31
