"""From the text of a script to its tree: statements, commands and their arguments.

Knows expressions and the tree. Must not know what any of it does. What is PowerShell but not of this dialect is refused
here already, before anything has run.
"""

from __future__ import annotations

import re

from remotejobs.sim.dialect.expressions import Expressions
from remotejobs.sim.dialect.nodes import (
    ArrayLiteral,
    Assignment,
    Block,
    Command,
    Flow,
    ForEach,
    Function,
    If,
    Index,
    Literal,
    Loop,
    Member,
    NamedArgument,
    Node,
    Parameter,
    Pipeline,
    Redirection,
    Source,
    Switch,
    Try,
    Variable,
)
from remotejobs.sim.records import ScriptError

_EXPRESSION_START = re.compile(
    r"[$('\"\[{,!]|@[({'\"]|\+\+|--(?!\w)|-(?=[\d.$(])|\+(?=[\d$(])|\.?\d|-(?:not|bnot|join|split)\b", re.IGNORECASE
)
_ASSIGN = re.compile(r"(\+|-|\*|/|%|\?\?)?=(?!=)")
_BAREWORD = re.compile(r"(?:[^\s;|&(){},'\"<>`]|`.)+")
_ARGUMENT = re.compile(r"-([A-Za-z_?][\w-]*)(:)?")
_FUNCTION = re.compile(r"[A-Za-z_][\w:.-]*")
_REDIRECT = re.compile(r"([1-6*])?>(?:&1|>?\s*\$null(?!\w))", re.IGNORECASE)
_REFUSED = ("trap", "class", "enum", "using", "data", "workflow", "parallel", "sequence", "filter", "configuration")
_FLOW = ("throw", "return", "exit", "break", "continue")
_NESTING = 60


class Parser(Expressions):
    """The parser of one script."""

    depth = 0

    def script(self) -> Block:
        """The whole script.

        Raises:
            ScriptError: PowerShell would not parse it either (ParserError), or the dialect does not know it.
        """
        try:
            block = self._block_body("", 0)
        except RecursionError:
            raise self.refuse("scripts nested this deep") from None
        if self.at < len(self.text):
            raise self.unexpected()
        return block

    def block(self) -> Block:
        """`{`, a block, `}`."""
        start = self.at
        if not self.take("{"):
            raise self.error("Missing statement block.", "MissingStatementBlock")
        if self.depth >= _NESTING:
            raise self.refuse("scripts nested this deep")
        self.depth += 1
        block = self._block_body("}", start)
        self.depth -= 1
        self._close(block, "}")
        return block

    def _block_body(self, end: str, start: int) -> Block:
        self.blank(lines=True)
        if self.peek(15).lower().startswith("[cmdletbinding"):
            raise self.refuse("[CmdletBinding()]")
        parameters = self._parameters() if self.keyword("param") else []
        named: dict[str, list[Node]] = {}
        self.blank(lines=True)
        while word := self.keyword("begin", "process", "end", "dynamicparam", "clean"):
            if word in {"dynamicparam", "clean"}:
                raise self.refuse(f"the block {word}")
            self.blank(lines=True)
            named[word] = self._body()
            self.blank(lines=True)
        body = named.get("end", []) if named else self.statements(end)
        return Block(
            parameters, named.get("begin", []), named.get("process"), body, self.source, start=start, end=self.at
        )

    def _parameters(self) -> list[Parameter]:
        self.blank(lines=True)
        if not self.take("("):
            raise self.unexpected()
        parameters: list[Parameter] = []
        self.blank(lines=True)
        while self.peek() not in {")", ""}:
            start = self.at
            kind = re.compile(r"\[([A-Za-z_][\w.]*(?:\[\])?)\]\s*").match(self.text, self.at)
            if kind:
                self.at = kind.end()
            name = self.variable()
            if not name:
                raise self.refuse("attributes of parameters", start)
            self.blank(lines=True)
            default = None
            if self.take("="):
                self.blank(lines=True)
                default = self._unary()
            parameters.append(Parameter(name.name, kind[1].lower() if kind else "", default, start=start, end=self.at))
            self.blank(lines=True)
            if not self.take(","):
                break
            self.blank(lines=True)
        self._close(Node(), ")")
        return parameters

    def statements(self, end: str) -> list[Node]:
        """Statements up to the bracket `end`."""
        found: list[Node] = []
        while True:
            while self.take(";") or self._skipped():
                pass
            if self.at >= len(self.text) or (end and self.peek() == end):
                return found
            found.append(self.statement())
            self.blank()
            if self.at < len(self.text) and self.peek() not in {";", "\n", "\r", end}:
                raise self.unexpected()

    def _body(self) -> list[Node]:
        """`{ statements }`."""
        self.blank(lines=True)
        return self.block().body

    def statement(self) -> Node:
        """One statement."""
        start = self.at
        word = self.keyword(
            "if", "while", "do", "for", "foreach", "switch", "try", "function", *_FLOW, *_REFUSED
        )  # fmt: skip
        if not word:
            return self.pipeline()
        if word in _REFUSED:
            raise self.refuse(f"the keyword '{word}'", start)
        self.blank(lines=word not in _FLOW)
        node: Node = self._flow(word) if word in _FLOW else getattr(self, f"_{word}")()
        node.start, node.end = start, self.at
        return node

    def _flow(self, word: str) -> Node:
        if word in {"break", "continue"} and re.compile(r"\w").match(self.text, self.at):
            raise self.refuse("labels")
        nothing = self.peek() in {";", "\n", "\r", "}", ")", ""}
        return Flow(word, None if nothing else self.pipeline())

    def _condition(self) -> Node:
        self.blank(lines=True)
        if not self.take("("):
            raise self.error("Missing '(' after the keyword in the statement.", "MissingOpenParenthesisAfterKeyword")
        self.blank(lines=True)
        node = self.pipeline()
        self.blank(lines=True)
        return self._close(node, ")")

    def _if(self) -> Node:
        clauses: list[tuple[Node | None, list[Node]]] = [(self._condition(), self._body())]
        while True:
            before = self.at
            self.blank(lines=True)
            word = self.keyword("elseif", "else")
            if word == "elseif":
                clauses.append((self._condition(), self._body()))
                continue
            if word:
                clauses.append((None, self._body()))
            else:
                self.at = before
            return If(clauses)

    def _while(self) -> Node:
        return Loop(self._condition(), self._body())

    def _do(self) -> Node:
        body = self._body()
        self.blank(lines=True)
        word = self.keyword("while", "until")
        if not word:
            raise self.error("Missing while or until keyword in do loop.", "MissingWhileOrUntilInDoWhile")
        return Loop(self._condition(), body, test_first=False, negated=word == "until")

    def _for(self) -> Node:
        if not self.take("("):
            raise self.error("Missing opening '(' after keyword 'for'.", "MissingOpenParenthesisAfterKeyword")
        parts: list[Node | None] = []
        for separator in (";", ";", ""):
            self.blank(lines=True)
            parts.append(None if self.peek() in {";", ")"} else self.pipeline())
            self.blank(lines=True)
            if separator:
                self.take(separator)
        self._close(Node(), ")")
        return Loop(parts[1], self._body(), initial=parts[0], step=parts[2])

    def _foreach(self) -> Node:
        if not self.take("("):
            raise self.error("Missing opening '(' after keyword 'foreach'.", "MissingOpenParenthesisAfterKeyword")
        self.blank(lines=True)
        variable = self.variable()
        if not variable:
            message = "Missing variable name after foreach.\nThe correct form is: foreach ($a in $b) {...}"
            raise self.error(message, "MissingVariableNameAfterForeach")
        self.blank(lines=True)
        if not self.keyword("in"):
            raise self.error("Missing 'in' after variable in foreach loop.", "MissingInInForeach")
        self.blank(lines=True)
        values = self.pipeline()
        self.blank(lines=True)
        self._close(Node(), ")")
        return ForEach(variable, values, self._body())

    def _switch(self) -> Node:
        if self.peek() == "-":
            raise self.refuse("options of switch")
        values = self._condition()
        self.blank(lines=True)
        if not self.take("{"):
            raise self.error("Missing opening '{' in switch statement.", "MissingCurlyBraceInSwitchStatement")
        clauses: list[tuple[Node | None, list[Node]]] = []
        while True:
            while self.take(";") or self._skipped():
                pass
            if self.peek() in {"}", ""}:
                break
            if self.keyword("default"):
                condition = None
            elif _EXPRESSION_START.match(self.text, self.at):
                condition = self._unary()
            else:
                condition = self._word()
            clauses.append((condition, self._body()))
        self._close(Node(), "}")
        return Switch(values, clauses)

    def _try(self) -> Node:
        body = self._body()
        catches: list[tuple[list[str], list[Node]]] = []
        final: list[Node] = []
        before = self.at
        while True:
            before = self.at
            self.blank(lines=True)
            word = self.keyword("catch", "finally")
            if word == "catch":
                self.blank(lines=True)
                types = []
                while found := self.match(re.compile(r"\[([A-Za-z_][\w.]*)\]\s*,?\s*")):
                    types.append(found[1])
                catches.append((types, self._body()))
            elif word:
                final = self._body()
                return Try(body, catches, final)
            else:
                self.at = before
                break
        if not catches:
            raise self.error("The Try statement is missing its Catch or Finally block.", "MissingCatchOrFinally")
        return Try(body, catches, final)

    def _function(self) -> Node:
        name = self.match(_FUNCTION)
        if not name:
            after = self.at - 1
            raise self.error("Missing name after function keyword.", "MissingNameAfterKeyword", after, after)
        self.blank(lines=True)
        parameters = self._parameters() if self.peek() == "(" else []
        self.blank(lines=True)
        block = self.block()
        block.parameters = block.parameters or parameters
        return Function(name[0], block)

    def pipeline(self) -> Node:
        """A pipeline, or an assignment."""
        start = self.at
        stages: list[Node] = []
        while True:
            if _EXPRESSION_START.match(self.text, self.at) and not stages:
                expression = self.expression()
                stages.append(expression)
                assigned = self._assignment(expression)
                if assigned:
                    return assigned
            else:
                stages.append(self._command())
            before = self.at
            self.blank()
            if self.peek(2) in {"||", "&&"}:
                raise self.refuse("pipeline chains (&& and ||)")
            if self.peek() == "&":
                raise self.refuse("background jobs (&)")
            if self.peek() == "?" and self.peek(2) != "??":
                raise self.refuse("the ternary operator")
            if not self.take("|"):
                self.at = before
                break
            self.blank(lines=True)
        if len(stages) == 1 and not isinstance(stages[0], Command):
            return stages[0]
        return Pipeline(stages, start=start, end=self.at)

    def _assignment(self, target: Node) -> Node | None:
        before = self.at
        self.blank()
        found = self.match(_ASSIGN)
        if not found:
            self.at = before
            return None
        if not isinstance(target, (Variable, Member, Index)):
            raise self.refuse("assignments to anything but a variable, a member or an element", target.start)
        if found[1] == "??":
            raise self.refuse("the operator ??=", found.start())
        self.blank(lines=True)
        value = self.statement()
        return Assignment(target, found[1] or "", value, start=target.start, end=value.end)

    def _command(self) -> Node:
        start = self.at
        operator = ""
        if self.peek() in {"&", "."} and re.compile(r"[&.]\s*[$('\"{]|[&.]\s+\S").match(self.text, self.at):
            operator = self.peek()
            self.at += 1
            self.blank()
        name = self._primary_argument() if operator else self._word()
        node = Command(name, [], operator, start=start)
        while True:
            node.end = self.at
            self.blank()
            redirection = self.match(_REDIRECT)
            if redirection:
                node.redirections.append(Redirection(redirection[1] or "1", redirection[0].endswith("&1")))
            elif self.peek() in {";", "|", "\n", "\r", ")", "}", "", "&"}:
                self.at = node.end
                return node
            elif self.peek() in {"<", ">"} or re.compile(r"\d>").match(self.text, self.at):
                raise self.refuse("redirection to anything but $null and &1")
            else:
                node.arguments.append(self._command_argument())

    def _command_argument(self) -> Node:
        start = self.at
        if self.peek(3) == "--%":
            raise self.refuse("the stop-parsing token --%")
        found = _ARGUMENT.match(self.text, self.at)
        if found:
            self.at = found.end()
            value = None
            if found[2]:
                self.blank()
                value = self._argument_list()
            return NamedArgument(found[1], value, start=start, end=self.at)
        splat = re.compile(r"@([A-Za-z_]\w*)").match(self.text, self.at)
        if splat:
            self.at = splat.end()
            return Variable(splat[1], "", splatted=True, start=start, end=self.at)
        return self._argument_list()

    def _argument_list(self) -> Node:
        """One argument; commas make it an array."""
        items = [self._primary_argument()]
        while True:
            before = self.at
            self.blank()
            if not self.take(","):
                self.at = before
                break
            self.blank(lines=True)
            items.append(self._primary_argument())
        return ArrayLiteral(items, start=items[0].start, end=self.at) if len(items) > 1 else items[0]

    def _primary_argument(self) -> Node:
        start = self.at
        numeral = re.compile(r"-?(?=[\d.])").match(self.text, self.at)
        if numeral:
            self.at = numeral.end()
            literal = self.number()
            if literal and self._argument_ends():
                if isinstance(literal, Literal) and numeral[0]:
                    literal.value = -literal.value
                return literal
            self.at = start
        if re.compile(r"[$('\"{]|@[({'\"]").match(self.text, self.at):
            try:
                node = self._postfix(self._primary())
            except ScriptError:
                if self.peek() != "$":
                    raise
                return self._word()
            if self._argument_ends() or not isinstance(node, Variable):
                return node
            self.at = start
        return self._word()

    def _argument_ends(self) -> bool:
        return self.peek() in {"", " ", "\t", "\n", "\r", ";", "|", ",", ")", "}", "&", "{", "("}

    def _word(self) -> Node:
        start = self.at
        found = self.match(_BAREWORD)
        if not found:
            raise self.unexpected()
        if self.peek() in {"'", '"'}:
            raise self.refuse("quotes inside a word")
        return self.bareword(found[0], start)


def parse(text: str) -> Block:
    """The tree of a script.

    Raises:
        ScriptError: See Parser.script.
    """
    return Parser(Source(text)).script()
