"""docs/reference/errors.md lists every reason that an error may have, with its code: compared with the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from deployment_service.api.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "deployment_service"
ELSEWHERE = {"client", "dev", "v1", "cicd"}
CODE_OF = {kind.__name__: code.name for kind, code in CODES.items()}
ROW = re.compile(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \| (\S.*) \|$", re.MULTILINE)


def reasons_in_code() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                name = node.func.id if isinstance(node.func, ast.Name) else name
                if name in CODE_OF:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield reason_of(name, node, where), CODE_OF[name]


def reason_of(name: str, call: ast.Call, where: str) -> str:
    keywords = {one.arg: one.value for one in call.keywords}
    if name == "InvalidArgument":
        return literal(keywords["reason"], where) if "reason" in keywords else "INVALID_FIELD"
    first = literal(call.args[0], where)
    if name in ("NotFound", "AlreadyExists"):
        kind = first.upper().replace(" ", "_")
        return f"{kind}_{'NOT_FOUND' if name == 'NotFound' else 'EXISTS'}"
    return first


def literal(node: ast.expr, where: str) -> str:
    assert isinstance(node, ast.Constant), f"{where}: a reason must be a literal"
    assert isinstance(node.value, str), f"{where}: a reason must be a literal"
    return node.value


def test_every_reason_is_documented_and_no_other():
    documented = {
        (reason, code)
        for reason, code, _ in ROW.findall((ROOT / "docs/reference/errors.md").read_text())
    }
    assert documented == set(reasons_in_code())


def test_a_reason_has_one_code():
    found = set(reasons_in_code())
    assert len({reason for reason, _ in found}) == len(found)


def test_every_kind_of_error_has_a_code():
    from deployment_service.domain import errors

    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.ServiceError)
        and kind is not errors.ServiceError
    }
    assert kinds <= CODES.keys()
