"""The expressions of the dialect: operators by precedence, primaries, members, types, blocks.

Knows the scanner and the tree. Must not know statements: those are its heir's.
"""

from __future__ import annotations

import re

from remotejobs.sim.dialect.nodes import (
    ArrayLiteral,
    Binary,
    Block,
    BlockLiteral,
    Cast,
    Group,
    HashLiteral,
    Index,
    Literal,
    Member,
    Node,
    Step,
    TypeLiteral,
    Unary,
    Variable,
)
from remotejobs.sim.dialect.scanner import Scanner

_WORDS = [
    r"and|or|xor",
    r"band|bor|bxor",
    r"[ic]?(?:eq|ne|gt|ge|lt|le|like|notlike|match|notmatch|contains|notcontains|in|notin|replace|split)|join|is|isnot|as",
]
_SIGNS = [r"(\+(?![=+])|-(?![=a-z-]))", r"([*/%](?!=))", r"-(f)(?![\w-])", r"(\.\.)"]
_OPERATORS = [re.compile(p, re.IGNORECASE) for p in (*(rf"-({w})(?![\w-])" for w in _WORDS), *_SIGNS)]  # loosest first
_UNARY = re.compile(r"-(not|bnot|join|split|csplit|isplit)(?![\w-])|!|\+\+|--|[-+]|,", re.IGNORECASE)
_TYPE = re.compile(r"\[\s*([A-Za-z_][\w.]*(?:\[\])?)\s*\]")
_NAME = re.compile(r"[A-Za-z_][\w]*")
_KEY = re.compile(r"[A-Za-z_][\w-]*|\d+")


class Expressions(Scanner):
    """A parser of expressions."""

    def expression(self, level: int = 0) -> Node:
        """An expression whose operators bind at least as tightly as `level`."""
        if level == len(_OPERATORS):
            return self._array()
        left = self.expression(level + 1)
        while True:
            before = self.at
            self.blank()
            found = self.match(_OPERATORS[level])
            if not found:
                self.at = before
                return left
            self.blank(lines=True)
            if self.peek() in {"", ")", "}", "]", ";"}:
                message = f"You must provide a value expression following the '{found[0]}' operator."
                raise self.error(message, "ExpectedValueExpression", found.end(), found.end())
            right = self.expression(level + 1)
            operator = found[1].lower()
            left = Binary(operator, left, right, start=left.start, end=right.end)

    def _array(self) -> Node:
        first = self._unary()
        items = [first]
        while True:
            before = self.at
            self.blank()
            if not self.take(","):
                self.at = before
                break
            self.blank(lines=True)
            items.append(self._unary())
        return ArrayLiteral(items, start=first.start, end=items[-1].end) if len(items) > 1 else first

    def _unary(self) -> Node:
        start = self.at
        literal = self.number()
        if literal:
            return self._postfix(literal)
        found = self.match(_UNARY)
        if not found:
            return self._postfix(self._primary())
        operator = (found[1] or found[0]).lower()
        self.blank()
        operand = self._unary()
        if operator in {"++", "--"}:
            return Step(operator, operand, prefix=True, start=start, end=operand.end)
        if operator == "-" and isinstance(operand, Literal) and type(operand.value) is not str:
            return Literal(-operand.value, start=start, end=operand.end)
        return Unary(operator, operand, start=start, end=operand.end)

    def _primary(self) -> Node:
        start = self.at
        found = self.string() or self.variable()
        if found:
            return found
        if self.peek(2) == "$(":
            return self.subexpression()
        if self.take("@("):
            return self._close(Group("@", self.statements(")"), start=start), ")")
        if self.take("@{"):
            return self._hash(start)
        if self.take("("):
            self.blank(lines=True)
            body = [self.pipeline()]
            self.blank(lines=True)
            return self._close(Group("(", body, start=start), ")")
        if self.peek() == "{":
            return self.block_literal()
        if self.peek() == "[":
            return self._type()
        raise self.unexpected()

    def subexpression(self) -> Node:
        """`$( statements )`."""
        start = self.at
        self.at += 2
        return self._close(Group("$", self.statements(")"), start=start), ")")

    def _close(self, node: Node, bracket: str) -> Node:
        if not self.take(bracket):
            if self.at < len(self.text):
                raise self.unexpected()
            names = {
                ")": "MissingEndParenthesisInExpression",
                "}": "MissingEndCurlyBrace",
                "]": "EndSquareBracketExpectedAtEndOfType",
            }
            where = "statement block or type definition" if bracket == "}" else "expression"
            raise self.error(f"Missing closing '{bracket}' in {where}.", names[bracket])
        node.end = self.at
        return node

    def block_literal(self) -> BlockLiteral:
        """`{ }`."""
        start = self.at
        block = self.block()
        return BlockLiteral(block, self.text[start + 1 : self.at - 1], start=start, end=self.at)

    def _hash(self, start: int) -> Node:
        entries: list[tuple[Node, Node]] = []
        while True:
            while self.take(";") or self._skipped():
                pass
            if self.peek() in {"}", ""}:
                break
            key_start = self.at
            word = self.match(_KEY)
            key = Literal(word[0], start=key_start, end=self.at) if word else self._unary()
            if word and word[0].isdigit():
                key = Literal(int(word[0]), start=key_start, end=self.at)
            self.blank()
            if not self.take("="):
                raise self.error("Missing '=' operator after key in hash literal.", "MissingEqualsInHashLiteral")
            self.blank(lines=True)
            entries.append((key, self.statement()))
        return self._close(HashLiteral(entries, start=start), "}")

    def _skipped(self) -> bool:
        before = self.at
        self.blank(lines=True)
        return self.at > before

    def _type(self) -> Node:
        start = self.at
        found = self.match(_TYPE)
        if not found:
            raise self.refuse("this type or attribute", start)
        literal = TypeLiteral(found[1], start=start, end=self.at)
        before = self.at
        self.blank()
        if self.peek(2) == "::" or not re.compile(r"[$@('\"\[{\d.+-]").match(self.text, self.at):
            self.at = before
            return literal
        if re.compile(r"-[a-zA-Z]|\.\D").match(self.text, self.at):
            self.at = before
            return literal
        operand = self._unary()
        return Cast(found[1], operand, start=start, end=operand.end)

    def _postfix(self, node: Node) -> Node:
        while True:
            static = self.peek(2) == "::"
            if static or (self.peek() == "." and re.compile(r"\.[A-Za-z_$('\"]").match(self.text, self.at)):
                self.at += 2 if static else 1
                node = self._member(node, static=static)
            elif self.peek() == "[" and not isinstance(node, TypeLiteral):
                self.at += 1
                self.blank(lines=True)
                index = self.expression()
                self.blank(lines=True)
                node = self._close(Index(node, index, start=node.start), "]")
            elif self.peek(2) in {"++", "--"} and isinstance(node, (Variable, Member, Index)):
                operator = self.peek(2)
                self.at += 2
                node = Step(operator, node, prefix=False, start=node.start, end=self.at)
            elif self.peek(2) in {"?.", "?["}:
                raise self.refuse("null-conditional access")
            elif isinstance(node, (Member, Index)) and self._is_using(node):
                return Variable(self.text[node.start : self.at], "using", start=node.start, end=self.at)
            else:
                return node

    def _is_using(self, node: Node) -> bool:
        while isinstance(node, (Member, Index)):
            node = node.target
        return isinstance(node, Variable) and node.scope == "using"

    def _member(self, target: Node, *, static: bool) -> Node:
        start = self.at
        word = self.match(_NAME)
        name: Node | None = Literal(word[0], start=start, end=self.at) if word else self.string() or self.variable()
        if name is None:
            raise self.refuse("a member name that is computed")
        arguments: list[Node] | None = None
        if self.take("("):
            arguments = []
            self.blank(lines=True)
            while self.peek() not in {")", ""}:
                arguments.append(self._argument())
                self.blank(lines=True)
                if not self.take(","):
                    break
                self.blank(lines=True)
            node = Member(target, name, static, arguments, start=target.start)
            return self._close(node, ")")
        return Member(target, name, static, start=target.start, end=self.at)

    def _argument(self) -> Node:
        """An argument of a method: commas part arguments there."""
        left = self._unary()
        self.blank()
        for level in range(len(_OPERATORS) - 1, -1, -1):
            while found := self.match(_OPERATORS[level]):
                self.blank(lines=True)
                right = self._unary()
                left = Binary(found[1].lower(), left, right, start=left.start, end=right.end)
                self.blank()
        return left

    # The heir's

    def statements(self, end: str) -> list[Node]:
        """Statements up to the bracket `end`, or to the end of the script."""
        raise NotImplementedError

    def statement(self) -> Node:
        """One statement."""
        raise NotImplementedError

    def pipeline(self) -> Node:
        """A pipeline or an assignment."""
        raise NotImplementedError

    def block(self) -> Block:
        """`{`, a block, `}`."""
        raise NotImplementedError
