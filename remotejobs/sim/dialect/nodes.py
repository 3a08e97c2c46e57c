"""The tree of a script. Knows nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remotejobs.sim.records import Position


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one script."""

    text: str

    def position(self, start: int, end: int) -> Position:
        """Line, column and text of a part."""
        line_start = self.text.rfind("\n", 0, start) + 1
        line_end = self.text.find("\n", start)
        line = self.text[line_start : len(self.text) if line_end < 0 else line_end + 1]
        return Position(self.text.count("\n", 0, start) + 1, start - line_start + 1, self.text[start:end], line)


@dataclass(slots=True, kw_only=True)
class Node:
    """Anything with a place in the script."""

    start: int = 0
    end: int = 0


@dataclass(slots=True)
class Literal(Node):
    """A number or a string without parts."""

    value: Any


@dataclass(slots=True)
class Expandable(Node):
    """A string with variables and sub-expressions in it: text and nodes in turn."""

    parts: list[str | Node]


@dataclass(slots=True)
class Variable(Node):
    """`$name`, `$scope:name`; `splatted` is `@name`."""

    name: str
    scope: str = ""
    splatted: bool = False


@dataclass(slots=True)
class ArrayLiteral(Node):
    """`1, 2`."""

    items: list[Node]


@dataclass(slots=True)
class Group(Node):
    """`( )` has one pipeline, `$( )` and `@( )` have statements; `kind` is the character before."""

    kind: str
    body: list[Node]


@dataclass(slots=True)
class HashLiteral(Node):
    """`@{ key = value }`."""

    entries: list[tuple[Node, Node]]


@dataclass(slots=True)
class Parameter(Node):
    """One of a param block; `type` is empty or the name in brackets."""

    name: str
    type: str = ""
    default: Node | None = None


@dataclass(slots=True)
class Block(Node):
    """A script block: `end` statements, or the three named blocks."""

    parameters: list[Parameter]
    begin: list[Node]
    process: list[Node] | None
    body: list[Node]
    source: Source


@dataclass(slots=True)
class BlockLiteral(Node):
    """`{ }` as a value."""

    block: Block
    text: str


@dataclass(slots=True)
class TypeLiteral(Node):
    """`[int]`."""

    name: str


@dataclass(slots=True)
class Cast(Node):
    """`[int]$x`."""

    type: str
    operand: Node


@dataclass(slots=True)
class Unary(Node):
    """`-x`, `!x`, `-not x`, `, x`, `-join x`, `-split x`, `-bnot x`."""

    operator: str
    operand: Node


@dataclass(slots=True)
class Binary(Node):
    """Two operands; the operator in lower case, without its dash."""

    operator: str
    left: Node
    right: Node


@dataclass(slots=True)
class Step(Node):
    """`++` and `--`; `prefix` gives the new value, else the old one."""

    operator: str
    target: Node
    prefix: bool


@dataclass(slots=True)
class Member(Node):
    """`.name` or `::name`; with `arguments` a method is called."""

    target: Node
    name: Node
    static: bool
    arguments: list[Node] | None = None


@dataclass(slots=True)
class Index(Node):
    """`[index]`."""

    target: Node
    index: Node


@dataclass(slots=True)
class Assignment(Node):
    """`target = pipeline` and its kin; the operator without `=`."""

    target: Node
    operator: str
    value: Node


@dataclass(slots=True)
class NamedArgument(Node):
    """`-Name`, `-Name:value`."""

    name: str
    value: Node | None = None


@dataclass(slots=True)
class Redirection(Node):
    """`2>$null` or `2>&1`: a stream number or `*`, and whether it goes to the output."""

    stream: str
    merge: bool


@dataclass(slots=True)
class Command(Node):
    """A command with its arguments; `operator` is empty, `&` or `.`."""

    name: Node
    arguments: list[Node]
    operator: str = ""
    redirections: list[Redirection] = field(default_factory=list)


@dataclass(slots=True)
class Pipeline(Node):
    """Commands; the first may be an expression."""

    stages: list[Node]


@dataclass(slots=True)
class If(Node):
    """Conditions with their statements; the last condition may be None."""

    clauses: list[tuple[Node | None, list[Node]]]


@dataclass(slots=True)
class Loop(Node):
    """while, do-while, do-until (`test_first` False) and for."""

    condition: Node | None
    body: list[Node]
    test_first: bool = True
    negated: bool = False
    initial: Node | None = None
    step: Node | None = None


@dataclass(slots=True)
class ForEach(Node):
    """foreach ($variable in pipeline)."""

    variable: Variable
    values: Node
    body: list[Node]


@dataclass(slots=True)
class Switch(Node):
    """switch; a condition None is `default`."""

    values: Node
    clauses: list[tuple[Node | None, list[Node]]]


@dataclass(slots=True)
class Try(Node):
    """try, catches with the types they are for, finally."""

    body: list[Node]
    catches: list[tuple[list[str], list[Node]]]
    final: list[Node]


@dataclass(slots=True)
class Flow(Node):
    """throw, return, exit, break, continue, with what follows."""

    keyword: str
    value: Node | None


@dataclass(slots=True)
class Function(Node):
    """A function definition."""

    name: str
    block: Block
