"""Evaluating what groovy.py has read; steps are looked up elsewhere."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from jenkins_simulator.pipeline import groovy_nodes as g


class ScriptFailure(Exception):
    """An exception inside the script, which a `try` may catch; uncaught it fails the build."""


class _Return(Exception):
    """A `return` on its way out of the closure or script."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


@dataclass
class Closure:
    """A block with the variables around it."""

    block: g.Block
    scope: Scope


@dataclass
class Evaluator:
    """Runs statements; `call_step` does what is no method of a value."""

    call_step: Callable[[str, list[Any], dict[str, Any]], Awaitable[Any]]
    look_up: Callable[[str], Any]
    assign_member: Callable[[Any, str, Any], bool]
    functions: dict[str, Any] = field(default_factory=dict)

    async def run(self, block: g.Block, scope: Scope) -> Any:
        """Run a block; its value is that of the last statement."""
        value: Any = None
        for statement in block.statements:
            value = await self.evaluate(statement, scope)
        return value

    async def call(self, closure: Closure, *arguments: Any) -> Any:
        """Run a closure."""
        own = {"it": arguments[0]} if arguments else {}
        own |= dict(zip(closure.block.parameters, arguments, strict=False))
        try:
            return await self.run(closure.block, closure.scope.new_child(own))
        except _Return as returned:
            return returned.value

    async def run_script(self, script: g.Block) -> None:
        """Run a whole script."""
        try:
            await self.run(script, Scope())
        except _Return:
            return

    async def _jump(self, node: g.Jump, scope: Scope) -> None:
        value = await self.evaluate(node.value, scope)
        if node.kind == "return":
            raise _Return(value)
        raise value if isinstance(value, ScriptFailure) else ScriptFailure(to_text(value))

    async def evaluate(self, node: Any, scope: Scope) -> Any:
        """The value of an expression, or the effect of a statement."""
        handler = getattr(self, f"_{type(node).__name__.lower()}")
        return await handler(node, scope)

    async def _literal(self, node: g.Literal, _: Scope) -> Any:
        return node.value

    async def _template(self, node: g.Template, scope: Scope) -> str:
        return "".join(
            [
                part if isinstance(part, str) else to_text(await self.evaluate(part, scope))
                for part in node.parts
            ]
        )

    async def _name(self, node: g.Name, scope: Scope) -> Any:
        return scope[node.name] if node.name in scope else self.look_up(node.name)

    async def _member(self, node: g.Member, scope: Scope) -> Any:
        owner = await self.evaluate(node.owner, scope)
        if isinstance(owner, dict):
            return owner.get(node.name)
        if isinstance(owner, ScriptFailure) and node.name == "message":
            return str(owner)
        if owner is None:
            raise ScriptFailure(
                f"java.lang.NullPointerException: Cannot get property '{node.name}' on null object"
            )
        return getattr(owner, node.name, None)

    async def _index(self, node: g.Index, scope: Scope) -> Any:
        owner = await self.evaluate(node.owner, scope)
        index = await self.evaluate(node.index, scope)
        try:
            return owner.get(index) if isinstance(owner, dict) else owner[index]
        except (IndexError, TypeError):
            return None

    async def _listof(self, node: g.ListOf, scope: Scope) -> list[Any]:
        return [await self.evaluate(item, scope) for item in node.items]

    async def _mapof(self, node: g.MapOf, scope: Scope) -> dict[Any, Any]:
        return {
            await self.evaluate(k, scope): await self.evaluate(v, scope) for k, v in node.entries
        }

    async def _block(self, node: g.Block, scope: Scope) -> Closure:
        return Closure(node, scope)

    async def _callof(self, node: g.CallOf, scope: Scope) -> Any:
        arguments = [await self.evaluate(argument, scope) for argument in node.arguments]
        named = {name: await self.evaluate(value, scope) for name, value in node.named}
        if isinstance(node.target, g.Member):
            owner = await self.evaluate(node.target.owner, scope)
            return await self._method(owner, node.target.name, arguments)
        name = node.target.name
        variable = scope.get(name)
        if isinstance(variable, Closure):
            return await self.call(variable, *arguments)
        if name.endswith("Exception"):
            return ScriptFailure(*arguments)
        return await self.call_step(name, arguments, named)

    async def _method(self, owner: Any, name: str, arguments: list[Any]) -> Any:
        if isinstance(owner, list) and name == "each":
            for item in owner:
                await self.call(arguments[0], item)
            return owner
        method = _METHODS.get(name)
        if method is None:
            raise ScriptFailure(
                f"groovy.lang.MissingMethodException: No signature of method: {name}"
            )
        return method(owner, *arguments)

    async def _operation(self, node: g.Operation, scope: Scope) -> Any:
        first = await self.evaluate(node.operands[0], scope)
        if node.operator == "!":
            return not first
        if len(node.operands) == 1:
            return -first
        if node.operator in ("&&", "||") and bool(first) is (node.operator == "||"):
            return bool(first)
        second = await self.evaluate(node.operands[1], scope)
        return _operate(node.operator, first, second)

    async def _assignment(self, node: g.Assignment, scope: Scope) -> Any:
        value = await self.evaluate(node.value, scope)
        target = node.target
        if isinstance(target, g.Name):
            scope[target.name] = value
        elif isinstance(target, g.Member):
            owner = await self.evaluate(target.owner, scope)
            if not self.assign_member(owner, target.name, value):
                raise ScriptFailure(
                    f"groovy.lang.MissingPropertyException: No such property: {target.name}"
                )
        return value

    async def _if(self, node: g.If, scope: Scope) -> Any:
        branch = node.then if await self.evaluate(node.condition, scope) else node.otherwise
        return await self._body(branch, scope)

    async def _body(self, node: Any, scope: Scope) -> Any:
        if node is None:
            return None
        return await (self.run if isinstance(node, g.Block) else self.evaluate)(node, scope)

    async def _for(self, node: g.For, scope: Scope) -> None:
        if node.name is None:
            while await self.evaluate(node.over, scope):
                await self._body(node.body, scope)
            return
        for item in await self.evaluate(node.over, scope) or []:
            await self._body(node.body, scope.new_child({node.name: item}))

    async def _try(self, node: g.Try, scope: Scope) -> Any:
        try:
            return await self._body(node.body, scope)
        except ScriptFailure as failure:
            if node.handler is None:
                raise
            return await self._body(node.handler, scope.new_child({node.name: failure}))
        finally:
            await self._body(node.cleanup, scope)


class Scope(ChainMap[str, Any]):
    """Variables of nested blocks; assigning to an outer one changes the outer one."""

    def __setitem__(self, name: str, value: Any) -> None:
        owner = next((variables for variables in self.maps if name in variables), self.maps[0])
        owner[name] = value


def to_text(value: Any) -> str:
    """A value as Groovy prints it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _operate(operator: str, first: Any, second: Any) -> Any:
    if operator == "+" and (isinstance(first, str) or isinstance(second, str)):
        return to_text(first) + to_text(second)
    operations: dict[str, Callable[[], Any]] = {
        "||": lambda: bool(second),
        "&&": lambda: bool(second),
        "==": lambda: first == second,
        "!=": lambda: first != second,
        "<": lambda: first < second,
        ">": lambda: first > second,
        "<=": lambda: first <= second,
        ">=": lambda: first >= second,
        "+": lambda: first + second,
        "-": lambda: first - second,
        "*": lambda: first * second,
        "/": lambda: first / second,
        "%": lambda: first % second,
    }
    try:
        return operations[operator]()
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ScriptFailure(f"groovy.lang.GroovyRuntimeException: {error}") from error


_METHODS: dict[str, Callable[..., Any]] = {
    "toString": to_text,
    "trim": lambda text: text.strip(),
    "toUpperCase": lambda text: text.upper(),
    "toLowerCase": lambda text: text.lower(),
    "toInteger": lambda text: int(text),
    "toBoolean": lambda text: to_text(text).lower() == "true",
    "getMessage": str,
    "size": len,
    "length": len,
    "isEmpty": lambda value: not value,
    "contains": lambda value, part: part in value,
    "startsWith": lambda text, start: text.startswith(start),
    "endsWith": lambda text, end: text.endswith(end),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, separator=" ": text.split(separator),
    "join": lambda items, separator: separator.join(map(to_text, items)),
    "get": lambda owner, key: owner.get(key) if isinstance(owner, dict) else owner[key],
    "containsKey": lambda owner, key: key in owner,
}
