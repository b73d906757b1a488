"""A reader of the part of Groovy that Jenkinsfiles are usually made of."""

from __future__ import annotations

import re
from typing import Any

from jenkins_simulator.pipeline.groovy_nodes import (
    Assignment,
    Block,
    CallOf,
    For,
    If,
    Index,
    Jump,
    ListOf,
    Literal,
    MapOf,
    Member,
    Name,
    Operation,
    Template,
    Try,
)
from jenkins_simulator.pipeline.groovy_tokens import GroovyError, Token, tokenize, unescape

_LITERALS = {"true": True, "false": False, "null": None}
_PRECEDENCE = (
    {"||"},
    {"&&"},
    {"==", "!=", "=~", "==~"},
    {"<", ">", "<=", ">="},
    {"+", "-"},
    {"*", "/", "%"},
)
_NO_ARGUMENT = {"in", "else", "catch", "finally", "as", "instanceof"}


def _template(text: str) -> Literal | Template:
    parts: list[Any] = []
    plain, at = "", 0
    while at < len(text):
        if text[at] == "\\":
            plain, at = plain + text[at : at + 2], at + 2
            continue
        simple = re.match(r"\$([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", text[at:])
        if text.startswith("${", at):
            end = _closing_brace(text, at + 2)
            expression, after = text[at + 2 : end], end + 1
        elif simple is not None:
            expression, after = simple.group(1), at + simple.end()
        else:
            plain, at = plain + text[at], at + 1
            continue
        parts += [unescape(plain), Parser(expression).expression()]
        plain, at = "", after
    return Template((*parts, unescape(plain))) if parts else Literal(unescape(plain))


def _closing_brace(text: str, at: int) -> int:
    depth = 1
    for position in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise GroovyError("expecting '}' in string")


class Parser:
    """Recursive descent; statements end with their line."""

    def __init__(self, text: str) -> None:
        self._tokens = tokenize(text, _template)
        self._at = 0

    def script(self) -> Block:
        """The whole script."""
        statements = self._statements("end")
        return Block(statements)

    # --- tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _accept(self, *texts: str) -> str | None:
        token = self._next
        if token.kind in ("operator", "name") and token.text in texts:
            self._at += 1
            return token.text
        return None

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            raise GroovyError(f"expecting '{text}', found '{self._next.text}'")

    def _skip_newlines(self) -> None:
        while self._next.kind == "newline":
            self._at += 1

    def _name(self) -> str:
        token = self._next
        if token.kind != "name":
            raise GroovyError(f"expecting a name, found '{token.text}'")
        self._at += 1
        return token.text

    # --- statements

    def _statements(self, end: str) -> tuple[Any, ...]:
        found = []
        self._skip_newlines()
        while self._next.kind != "end" and self._next.text != end:
            found.append(self._statement())
            ended = self._next.kind in ("newline", "end") or self._next.text == end
            # Declarative sections may follow one another on a line: `when { } steps { }`.
            if not ended and self._tokens[self._at - 1].text != "}":
                raise GroovyError(f"unexpected token: {self._next.text}")
            self._skip_newlines()
        if end != "end":
            self._expect(end)
        return tuple(found)

    def _statement(self) -> Any:
        while self._accept("@"):
            self._primary()
            self._skip_newlines()
        if self._accept("if"):
            return self._if()
        if self._accept("for", "while"):
            return self._loop(self._tokens[self._at - 1].text)
        if self._accept("try"):
            return self._try()
        if self._accept("return", "throw"):
            kind = self._tokens[self._at - 1].text
            bare = self._next.kind in ("newline", "end") or self._next.text == "}"
            return Jump(kind, Literal(None) if bare else self.expression())
        if self._is_function():
            return self._function()
        if self._accept("import"):
            while self._next.kind not in ("newline", "end"):
                self._at += 1
            return Literal(None)
        self._skip_type()
        expression = self.expression()
        if self._accept("="):
            self._skip_newlines()
            return Assignment(expression, self.expression())
        if self._accept("+="):
            return Assignment(expression, Operation("+", (expression, self.expression())))
        if self._accept("++", "--"):
            sign = "+" if self._tokens[self._at - 1].text == "++" else "-"
            return Assignment(expression, Operation(sign, (expression, Literal(1))))
        return expression

    def _is_function(self) -> bool:
        first, second, third = (self._tokens + [self._next] * 2)[self._at : self._at + 3]
        return first.text in ("def", "void") and second.kind == "name" and third.text == "("

    def _function(self) -> Assignment:
        """`def f(a, b) { … }` is a variable that holds a closure."""
        self._at += 1
        name, parameters = self._name(), []
        self._expect("(")
        while not self._accept(")"):
            self._accept("def", "String", "int", "boolean", ",")
            if self._next.kind == "name":
                parameters.append(self._name())
        self._expect("{")
        return Assignment(Name(name), Block(self._statements("}"), tuple(parameters)))

    def _skip_type(self) -> None:
        """`def x = …` and `String x = …`: types mean nothing here."""
        first, second, third = (self._tokens + [self._next] * 2)[self._at : self._at + 3]
        if first.kind == second.kind == "name" and (first.text == "def" or third.text == "="):
            self._at += 1

    def _body(self) -> Any:
        self._skip_newlines()
        if self._accept("{"):
            return Block(self._statements("}"))
        return Block((self._statement(),))

    def _if(self) -> If:
        self._expect("(")
        condition = self.expression()
        self._expect(")")
        then = self._body()
        at = self._at
        self._skip_newlines()
        if self._accept("else"):
            return If(condition, then, self._body())
        self._at = at
        return If(condition, then, None)

    def _loop(self, keyword: str) -> For:
        self._expect("(")
        name = None
        if keyword == "for":
            self._skip_type()
            name = self._name()
            if self._accept("in", ":") is None:
                raise GroovyError("only `for (x in list)` is known")
        over = self.expression()
        self._expect(")")
        return For(name, over, self._body())

    def _try(self) -> Try:
        body, name, handler, cleanup = self._body(), "e", None, None
        self._skip_newlines()
        if self._accept("catch"):
            self._expect("(")
            while self._next.text != ")":
                name = self._name() if self._next.kind == "name" else name
                self._accept(".", "|")
            self._expect(")")
            handler = self._body()
        at = self._at
        self._skip_newlines()
        if self._accept("finally"):
            cleanup = self._body()
        else:
            self._at = at
        return Try(body, name, handler, cleanup)

    # --- expressions

    def expression(self) -> Any:
        """Anything that has a value."""
        value = self._binary(0)
        if self._accept("?"):
            then = self.expression()
            self._expect(":")
            return If(value, then, self.expression())
        if self._accept("?:"):
            return If(value, value, self.expression())
        return value

    def _binary(self, level: int) -> Any:
        if level == len(_PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while (operator := self._accept(*_PRECEDENCE[level])) is not None:
            self._skip_newlines()
            left = Operation(operator, (left, self._binary(level + 1)))
        return left

    def _unary(self) -> Any:
        operator = self._accept("!", "-")
        return self._postfix() if operator is None else Operation(operator, (self._unary(),))

    def _postfix(self) -> Any:
        value = self._primary()
        while True:
            if self._accept(".", "?."):
                token = self._next
                self._at += 1
                value = Member(value, token.value.value if token.kind == "literal" else token.text)
            elif self._next.text == "(" and isinstance(value, Name | Member):
                value = self._call(value)
            elif self._next.text == "[" and self._touches_previous():
                self._expect("[")
                value = Index(value, self.expression())
                self._expect("]")
            elif self._next.text == "{" and isinstance(value, Name | Member):
                value = CallOf(value, (self._closure(),), ())
            elif isinstance(value, Name | Member) and self._begins_argument():
                return CallOf(value, *self._arguments(()))
            else:
                return value

    def _touches_previous(self) -> bool:
        return self._tokens[self._at - 1].kind in ("name", "literal") or (
            self._tokens[self._at - 1].text in (")", "]")
        )

    def _begins_argument(self) -> bool:
        """Whether a call without parentheses follows: `echo 'x'`, `agent any`."""
        token = self._next
        return token.kind == "literal" or (token.kind == "name" and token.text not in _NO_ARGUMENT)

    def _call(self, target: Any) -> CallOf:
        self._expect("(")
        self._skip_newlines()
        arguments, named = self._arguments((")",))
        self._expect(")")
        while self._next.text == "{":
            arguments = (*arguments, self._closure())
        return CallOf(target, arguments, named)

    def _arguments(
        self, ends: tuple[str, ...]
    ) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
        arguments: list[Any] = []
        named: list[tuple[str, Any]] = []
        while self._next.text not in ends:
            after = self._tokens[self._at + 1]
            if self._next.kind in ("name", "literal") and after.text == ":":
                token = self._next
                self._at += 2
                self._skip_newlines()
                named.append((token.value.value if token.value else token.text, self.expression()))
            else:
                arguments.append(self.expression())
            if ends:
                self._skip_newlines()
            if not self._accept(","):
                break
            self._skip_newlines()
        return tuple(arguments), tuple(named)

    def _primary(self) -> Any:
        token = self._next
        if token.kind == "literal":
            self._at += 1
            return token.value
        if token.text == "{":
            return self._closure()
        if self._accept("("):
            value = self.expression()
            self._expect(")")
            return value
        if self._accept("["):
            return self._list_or_map()
        if self._accept("new"):
            return self._postfix()
        name = self._name()
        return Literal(_LITERALS[name]) if name in _LITERALS else Name(name)

    def _closure(self) -> Block:
        self._expect("{")
        parameters: list[str] = []
        at = self._at
        while self._next.kind == "name" or self._next.text == ",":
            if self._next.kind == "name":
                parameters.append(self._name())
            else:
                self._at += 1
        if not self._accept("->"):
            self._at, parameters = at, []
        return Block(self._statements("}"), tuple(parameters))

    def _list_or_map(self) -> ListOf | MapOf:
        self._skip_newlines()
        if self._accept(":"):
            self._expect("]")
            return MapOf(())
        items: list[Any] = []
        entries: list[tuple[Any, Any]] = []
        while not self._accept("]"):
            item = self.expression()
            if self._accept(":"):
                self._skip_newlines()
                key = Literal(item.name) if isinstance(item, Name) else item
                entries.append((key, self.expression()))
            else:
                items.append(item)
            self._skip_newlines()
            self._accept(",")
            self._skip_newlines()
        return MapOf(tuple(entries)) if entries else ListOf(tuple(items))
