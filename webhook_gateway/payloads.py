"""Parse the bodies of webhooks: from bytes to the fields of a report, with a precise refusal of invalid bodies.

Only the needed keys are decoded, each up to a size limit; logs, artifacts and changes, which can be megabytes, are
skipped. Known deviations of the plugin and of hand-written senders are accepted where their meaning is clear.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec

from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway.errors import Reason, RefusedError

RUN_ID_PARAMETER = "DEPLOYMENT_RUN_ID"
MAX_NUMBER = 2**31 - 1
MAX_STATUS = 200
MAX_PATH = 2000
MAX_QUEUE_ID = 200
MAX_PARAMETERS = 100
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = 1024
# Decoding needs about ten times the memory of the text, and blocks the event loop: refuse useless sizes first.
MAX_SCALAR_BYTES = 8 * 1024
MAX_PARAMETERS_BYTES = 128 * 1024
# Replacing unpaired surrogates costs a call for each escape, so large bodies are refused instead.
MAX_REPAIRED_BYTES = 32 * 1024
_YEAR_9999_MS = 253_402_300_799_999

_NUMBER = re.compile(r"\s*#?([0-9]{1,10})\s*", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
# Control characters, line and paragraph separators, marks that turn text around, and surrogates.
_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NO_QUEUE_ITEM = re.compile("-[0-9]+|0+")
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

_PHASES = {
    "QUEUED": pb.BUILD_PHASE_QUEUED,
    "STARTED": pb.BUILD_PHASE_STARTED,
    "COMPLETED": pb.BUILD_PHASE_COMPLETED,
    "FINALIZED": pb.BUILD_PHASE_FINALIZED,
}


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """The content of a body: an unverified status update of a build."""

    source: pb.ReportSource
    build_number: int
    status: str = ""
    phase: pb.BuildPhase = pb.BUILD_PHASE_UNSPECIFIED
    job_id: str = ""  # the guide's jobId; the plugin sends none
    job_path: str = ""
    run_id: str = ""
    queue_id: str = ""
    timestamp_ms: int = 0
    parameters: dict[str, str] = field(default_factory=dict)
    parameters_known: bool = False
    test: bool = False


class _Build(msgspec.Struct):
    number: msgspec.Raw = msgspec.Raw()
    phase: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    queue_id: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    job_id: msgspec.Raw = msgspec.field(name="jobId", default=msgspec.Raw())
    status: msgspec.Raw = msgspec.Raw()
    build_number: msgspec.Raw = msgspec.field(name="buildNumber", default=msgspec.Raw())
    timestamp: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()
    test: msgspec.Raw = msgspec.Raw()
    build: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Body)
_BUILD_DECODER = msgspec.json.Decoder(_Build)


def parse(body: bytes) -> StatusUpdate:
    """Return the status update in a body. Raises ``RefusedError`` with the defect."""
    decoded = _decode(body)
    if bytes(memoryview(decoded.build)[:1]) == b"{":
        return _plugin(decoded, _BUILD_DECODER.decode(decoded.build))
    if not _is_null(decoded.job_id) or not _is_null(decoded.build_number):
        return _guide(decoded)
    raise RefusedError(Reason.UNKNOWN_BODY, "It has neither `build` nor `jobId`.")


def _is_null(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) <= 4 and bytes(view) in (b"", b"null")


def _value(raw: msgspec.Raw, name: str, limit_bytes: int = MAX_SCALAR_BYTES) -> Any:
    """Return a field's value, None if it is absent. The body is valid JSON."""
    if _is_null(raw):
        return None
    size_bytes = len(memoryview(raw))
    if size_bytes > limit_bytes:
        raise RefusedError(
            Reason.INVALID_FIELD,
            f"`{name}` has {size_bytes} bytes; at most {limit_bytes} are read.",
        )
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:  # 1e999
        raise RefusedError(Reason.INVALID_FIELD, f"`{name}`: {_shorten(str(error))}.") from None


def _decode(body: bytes) -> _Body:
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body or body.isspace():
        raise RefusedError(Reason.EMPTY_BODY)
    try:
        # The decoder does not validate the text that it skips, so the whole body is checked to be UTF-8.
        body.isascii() or body.decode()
        return _decode_json(body)
    except UnicodeDecodeError as error:
        _malformed(f"Byte {error.start} is not UTF-8.")
    except RecursionError:
        _malformed("It is nested too deeply.")
    except msgspec.ValidationError:
        raise RefusedError(Reason.UNKNOWN_BODY, "It is not a JSON object.") from None
    except msgspec.DecodeError as error:
        if body[:100].lstrip().startswith(b"<"):
            _malformed("It looks like XML or HTML.")
        _malformed(f"{_shorten(str(error))}.")


def _decode_json(body: bytes) -> _Body:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Valid JSON may escape half of a surrogate pair, which the decoder refuses, even in a log.
        if len(body) > MAX_REPAIRED_BYTES:
            raise
        repaired = _ESCAPES.sub(lambda match: b"\\ufffd" if match[2] else match[0], body)
        if repaired == body:
            raise
        return _DECODER.decode(repaired)


def _malformed(detail: str) -> NoReturn:
    raise RefusedError(Reason.MALFORMED_BODY, detail) from None


def _guide(body: _Body) -> StatusUpdate:
    job_id = _value(body.job_id, "jobId")
    if not isinstance(job_id, str) or not job_id.strip():
        raise RefusedError(Reason.INVALID_FIELD, "`jobId` must be the CICD job's id, as text.")
    if _value(body.test, "test") is True:
        # A test report concerns no build: it only checks the path to the service.
        return StatusUpdate(pb.REPORT_SOURCE_GUIDE, 0, job_id=_shorten(job_id.strip()), test=True)
    return StatusUpdate(
        source=pb.REPORT_SOURCE_GUIDE,
        build_number=build_number(_value(body.build_number, "buildNumber"), "buildNumber"),
        status=_status(_value(body.status, "status"), "status"),
        job_id=_shorten(job_id.strip()),
        timestamp_ms=timestamp_ms(_value(body.timestamp, "timestamp")),
    )


def _plugin(body: _Body, build: _Build) -> StatusUpdate:
    status = _status(_value(build.status, "build.status"), "build.status")
    phase = _phase(_value(build.phase, "build.phase"))
    if phase == pb.BUILD_PHASE_UNSPECIFIED and not status:
        raise RefusedError(
            Reason.INVALID_FIELD,
            "`build.phase` must be QUEUED, STARTED, COMPLETED or FINALIZED, if there is no `build.status`.",
        )
    url = _value(body.url, "url")
    run_id, parameters, known = _parameters(
        _value(build.parameters, "build.parameters", MAX_PARAMETERS_BYTES)
    )
    return StatusUpdate(
        source=pb.REPORT_SOURCE_NOTIFICATION_PLUGIN,
        build_number=build_number(_value(build.number, "build.number"), "build.number"),
        status=status,
        phase=phase,
        job_path=clean(url, MAX_PATH) if isinstance(url, str) else "",
        run_id=run_id,
        queue_id=_queue_id(_value(build.queue_id, "build.queue_id")),
        timestamp_ms=timestamp_ms(_value(build.timestamp, "build.timestamp")),
        parameters=parameters,
        parameters_known=known,
    )


def build_number(value: object, name: str) -> int:
    """Return a build's number from 7, "7" or "#7"."""
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        value = int(match[1])
    # True is an int to Python, not to Jenkins.
    if type(value) is int and 1 <= value <= MAX_NUMBER:
        return value
    problem = "is missing" if value is None else f"must be a whole number from 1 to {MAX_NUMBER}"
    raise RefusedError(Reason.INVALID_FIELD, f"`{name}` {problem}.")


def timestamp_ms(value: object) -> int:
    """Return ms since 1970 from ms, s or ISO text, and 0 for anything else, as it is only displayed."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return _iso_ms(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not 0 < value <= _YEAR_9999_MS:  # false for NaN as well
        return 0
    return _bounded_ms(value if value >= 1e11 else value * 1000)


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return _bounded_ms(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def _bounded_ms(milliseconds: float) -> int:
    return round(milliseconds) if 0 < milliseconds <= _YEAR_9999_MS else 0


def _status(value: object, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value, MAX_STATUS)
    raise RefusedError(Reason.INVALID_FIELD, f"`{name}` must be text, as in `SUCCESS`.")


def _phase(value: object) -> pb.BuildPhase:
    name = value.strip().upper() if isinstance(value, str) else ""
    return _PHASES.get(name, pb.BUILD_PHASE_UNSPECIFIED)


def _queue_id(value: object) -> str:
    """Return the id as opaque text, or empty text if there is none: old versions of the plugin send -1, 0 or null."""
    if type(value) is int and 0 < value < 10**MAX_QUEUE_ID:
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_QUEUE_ID:
        return ""
    return "" if _NO_QUEUE_ITEM.fullmatch(value) or _UNCLEAN.search(value) else value


def _parameters(value: object) -> tuple[str, dict[str, str], bool]:
    """Return the run's id, the other parameters, and whether any were listed."""
    if not isinstance(value, dict):
        return "", {}, False
    run_id = value.get(RUN_ID_PARAMETER)
    matched = _UUID.fullmatch(run_id.strip()) if isinstance(run_id, str) else None
    others: dict[str, str] = {}
    for name, item in value.items():
        if len(others) == MAX_PARAMETERS:
            break
        text = _text(item)
        if name == RUN_ID_PARAMETER or text is None or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
            continue
        others[_storable(name)] = _cut(_storable(text), MAX_VALUE_BYTES)
    return (str(uuid.UUID(matched[0])) if matched else ""), others, True


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return str(value)[:MAX_VALUE_BYTES] if isinstance(value, int | float) else None


def clean(text: str, limit: int) -> str:
    """Return text without characters that could forge a log line or that PostgreSQL refuses."""
    return _UNCLEAN.sub("\ufffd", text[: 4 * limit].strip())[:limit]


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")


def _shorten(text: str) -> str:
    return clean(text, MAX_STATUS)
