"""Bodies that are no report, whoever sends them: from a corpus, and made up by hypothesis."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.integration.gateway_harness import plugin
from tests.integration.test_gateway_hostile import BODIES, huge

CORPUS = tuple(body for body in BODIES if len(body) < 10_000)
# A few of these go a long way.
LARGE = (
    *(body for body in BODIES if len(body) >= 10_000),
    b'{"log":"' + b"x" * 2**20 + b'"}',
    b" " * (9 * 2**20),
    *huge(2**20),
)
_A_NUMBER = re.compile(r"\s*#?[0-9]{1,10}\s*", re.ASCII)
_BATCH = 25

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
)
_json: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=8,
)
_no_number = _json.filter(
    lambda value: (
        not (type(value) is int and 0 < value < 2**31)
        and not (isinstance(value, str) and _A_NUMBER.fullmatch(value))
    )
)
_no_text = _json.filter(lambda value: value is not None and not isinstance(value, str))


def _guide(job: str, **fields: Any) -> dict[str, Any]:
    return {"jobId": job, "status": "success", "buildNumber": 7} | fields


def _bodies(job: str) -> st.SearchStrategy[bytes]:
    wrong = st.one_of(
        _no_number.map(lambda value: _guide(job, buildNumber=value)),
        _no_number.map(lambda value: plugin(number=value)),
        _no_text.map(lambda value: _guide(job, status=value)),
        _no_text.map(lambda value: plugin(status=value)),
        _json.filter(lambda value: value != job).map(lambda value: _guide(job, jobId=value)),
        _json.filter(lambda value: not isinstance(value, dict) or not value.keys() & _guide("")),
    )
    as_json = wrong.map(lambda value: json.dumps(value).encode())
    as_utf8 = wrong.map(lambda v: json.dumps(v, ensure_ascii=False).encode("utf-8", "replace"))
    broken = st.tuples(as_json, st.integers(0, 10**6), st.sampled_from((b"\0", b"\xff", b"\x1b")))
    return st.one_of(
        as_json,
        as_utf8,
        st.binary(max_size=200),
        broken.map(
            lambda b: b[0][: b[1] % (len(b[0]) + 1)] + b[2] + b[0][b[1] % (len(b[0]) + 1) :]
        ),
    )


def made_up(job: str, count: int, random_seed: int) -> list[bytes]:
    """About ``count`` bodies that are no report of this job."""
    bodies: list[bytes] = []

    @seed(random_seed)
    @settings(
        max_examples=-(-count // _BATCH),
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(_bodies(job), min_size=_BATCH, max_size=_BATCH))
    def collect(batch: list[bytes]) -> None:
        bodies.extend(batch)

    collect()
    return bodies
