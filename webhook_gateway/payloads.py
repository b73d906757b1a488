"""Bodies of webhooks: from bytes to what a report needs, and a precise refusal of everything else.

Only the keys that are needed are decoded; logs, artifacts and changes, which can be megabytes, are only
skipped over. What the plugin and people are known to send oddly is tolerated where its meaning is clear.
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
MAX_PARAMETERS = 100
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = 1024
# Mending unpaired surrogates costs a call per escape, so big bodies are refused instead.
MAX_MENDED_BYTES = 256 * 1024
_YEAR_9999_MS = 253_402_300_799_999

_NUMBER = re.compile(r"\s*#?([0-9]{1,10})\s*", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
# Control characters, line and paragraph separators, marks that turn text around, and surrogates.
_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
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
class Claim:
    """What a body claims about a build."""

    source: pb.ReportSource
    build_number: int
    status: str = ""
    phase: pb.BuildPhase = pb.BUILD_PHASE_UNSPECIFIED
    job_id: str = ""  # the guide's jobId; the plugin has none
    job_path: str = ""
    run_id: str = ""
    queue_id: int = 0
    timestamp_ms: int = 0
    parameters: dict[str, str] = field(default_factory=dict)
    parameters_known: bool = False
    test: bool = False


class _Build(msgspec.Struct):
    number: Any = None
    phase: Any = None
    status: Any = None
    timestamp: Any = None
    queue_id: Any = None
    parameters: Any = None


class _Body(msgspec.Struct):
    job_id: Any = msgspec.field(name="jobId", default=None)
    status: Any = None
    build_number: Any = msgspec.field(name="buildNumber", default=None)
    timestamp: Any = None
    url: Any = None
    test: Any = None
    build: _Build | list[Any] | str | int | float | bool | None = None


_DECODER = msgspec.json.Decoder(_Body)


def parse(body: bytes) -> Claim:
    """Return the claim in a body, or raise RefusedError with what is wrong with it."""
    decoded = _decode(body)
    if isinstance(decoded.build, _Build):
        return _plugin(decoded, decoded.build)
    if decoded.job_id is not None or decoded.build_number is not None:
        return _guide(decoded)
    raise RefusedError(Reason.UNKNOWN_BODY, "It has neither `build` nor `jobId`.")


def _decode(body: bytes) -> _Body:
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body or body.isspace():
        raise RefusedError(Reason.EMPTY_BODY)
    try:
        # The decoder doesn't look into the text that it skips; nothing but UTF-8 may pass all the same.
        body.isascii() or body.decode()
        return _decode_json(body)
    except UnicodeDecodeError as error:
        _malformed(f"Byte {error.start} isn't UTF-8.")
    except RecursionError:
        _malformed("It is nested too deeply.")
    except msgspec.ValidationError as error:
        if "$" not in str(error):
            raise RefusedError(Reason.UNKNOWN_BODY, "It isn't a JSON object.") from None
        raise RefusedError(Reason.INVALID_FIELD, f"{_shorten(str(error))}.") from None
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
        if len(body) > MAX_MENDED_BYTES:
            raise
        mended = _ESCAPES.sub(lambda match: b"\\ufffd" if match[2] else match[0], body)
        if mended == body:
            raise
        return _DECODER.decode(mended)


def _malformed(detail: str) -> NoReturn:
    raise RefusedError(Reason.MALFORMED_BODY, detail) from None


def _guide(body: _Body) -> Claim:
    if not isinstance(body.job_id, str) or not body.job_id.strip():
        raise RefusedError(Reason.INVALID_FIELD, "`jobId` must be the CICD job's id, as text.")
    if body.test is True:
        # Says nothing of any build: it only tries whether a real one would arrive.
        return Claim(pb.REPORT_SOURCE_GUIDE, 0, job_id=_shorten(body.job_id.strip()), test=True)
    return Claim(
        source=pb.REPORT_SOURCE_GUIDE,
        build_number=build_number(body.build_number, "buildNumber"),
        status=_status(body.status, "status"),
        job_id=_shorten(body.job_id.strip()),
        timestamp_ms=timestamp_ms(body.timestamp),
    )


def _plugin(body: _Body, build: _Build) -> Claim:
    status = _status(build.status, "build.status")
    phase = _phase(build.phase)
    if phase == pb.BUILD_PHASE_UNSPECIFIED and not status:
        raise RefusedError(
            Reason.INVALID_FIELD,
            "`build.phase` must be QUEUED, STARTED, COMPLETED or FINALIZED, if there is no `build.status`.",
        )
    run_id, parameters, known = _parameters(build.parameters)
    return Claim(
        source=pb.REPORT_SOURCE_NOTIFICATION_PLUGIN,
        build_number=build_number(build.number, "build.number"),
        status=status,
        phase=phase,
        job_path=clean(body.url, MAX_PATH) if isinstance(body.url, str) else "",
        run_id=run_id,
        queue_id=_queue_id(build.queue_id),
        timestamp_ms=timestamp_ms(build.timestamp),
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
    """Return ms since 1970 from ms, s or ISO text, and 0 from anything else: it is only ever shown."""
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


def _queue_id(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        value = int(value)
    return value if type(value) is int and 0 < value < 2**63 else 0


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
    """Return text without anything that could forge a log line or that the database refuses."""
    return _UNCLEAN.sub("\ufffd", text[: 4 * limit].strip())[:limit]


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")


def _shorten(text: str) -> str:
    return clean(text, MAX_STATUS)
