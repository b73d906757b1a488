"""Every failpoint that the code has, found in the code: a new call or commit is in the list by itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import deployment_service
from deployment_service.cicd.port import CicdProvider

PACKAGE = Path(deployment_service.__file__).parent

# Not on the way of a deployment: what administrators do, and reading for an answer.
ELSEWHERE = {
    "actions/api_keys.py",
    "actions/providers.py",
    "actions/read_deployments.py",
    "actions/rotate_webhook_keys.py",
    "actions/tenants.py",
    "actions/update_deployment.py",
    "api/auth.py",
    "api/deployment_service.py",
    "api/snapshots.py",
    "storage/events/event_log.py",
    "workers/retention.py",
}
# They don't use the service's database: what makes transactions, the migrations, the generated code.
WITHOUT_POINTS = (
    "failpoints.py",
    "storage/database/*",
    "storage/records.py",
    "storage/schema/*",
    "v1/*",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def provider_points() -> set[str]:
    """Before and after each method of the port."""
    methods = inspect.getmembers(CicdProvider, inspect.isfunction)
    return _both(f"provider.{name}" for name, _ in methods if not name.startswith("_"))


def database_points(*, elsewhere: bool = False) -> set[str]:
    """Before and after each unit of work, and each connection that is taken, on our way (or ``elsewhere`` too)."""
    found: set[str] = set()
    for module in modules():
        if elsewhere or module not in ELSEWHERE:
            path = PACKAGE / module
            found |= module_points(path.stem, path.read_text())
    return found


def modules() -> list[str]:
    """The modules of the service that may have points, as paths within the package."""
    paths = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return [path for path in paths if not any(fnmatch(path, one) for one in WITHOUT_POINTS)]


def all_points() -> set[str]:
    return provider_points() | database_points()


def module_points(module: str, source: str) -> set[str]:
    """The points of one module. Raises ValueError for a transaction whose unit of work has no name."""
    tree = ast.parse(source)
    places = list(_calls(tree, ()))
    # Functions that hand a unit of work on to a transaction; they don't give it its name.
    takers = {"transaction"}
    names: set[str] = set()
    while True:
        before = set(takers)
        names = set()
        for call, scopes in places:
            if _called(call) in takers:
                names |= _units(module, call, scopes, takers)
        if takers == before:
            break
    users = {
        f"statement.{module}.{_qualname(scopes)}"
        for call, scopes in places
        if _called(call) == "acquire" and _receiver(call) in ("_database", "database", "_worker")
    }
    return _both(names | users)


def _units(module: str, call: ast.Call, scopes: tuple[ast.AST, ...], takers: set[str]) -> set[str]:
    units: set[str] = set()
    for work in call.args:
        if isinstance(work, ast.Lambda):
            units.add(f"commit.{module}.{_qualname(scopes)}")
        elif isinstance(work, ast.Name):
            function = next(s for s in reversed(scopes) if isinstance(s, ast.AsyncFunctionDef))
            if any(isinstance(s, Function) and _name_of(s) == work.id for s in ast.walk(function)):
                units.add(f"commit.{module}.{_qualname(scopes)}")
            elif work.id == "work" and any(a.arg == work.id for a in function.args.args):
                takers.add(function.name)
    if not units and _called(call) == "transaction" and not _hands_on(call):
        raise ValueError(f"{module}:{call.lineno}: name the unit of work: a function or a lambda")
    return units


def _hands_on(call: ast.Call) -> bool:
    return any(isinstance(work, ast.Name) and work.id == "work" for work in call.args)


def _calls(
    node: ast.AST, scopes: tuple[ast.AST, ...]
) -> Iterator[tuple[ast.Call, tuple[ast.AST, ...]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, scopes
        inner = (*scopes, child) if isinstance(child, ast.ClassDef | Function) else scopes
        yield from _calls(child, inner)


def _qualname(scopes: tuple[ast.AST, ...]) -> str:
    """Down to the outermost function: what is within it goes by its name."""
    names = []
    for scope in scopes:
        names.append(_name_of(scope))
        if isinstance(scope, Function):
            break
    return ".".join(names)


def _name_of(scope: ast.AST) -> str:
    return getattr(scope, "name", "")


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _receiver(call: ast.Call) -> str:
    inner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return getattr(inner, "attr", getattr(inner, "id", ""))


def _both(names: Iterator[str] | set[str]) -> set[str]:
    return {f"{name}.{side}" for name in names for side in ("before", "after")}
