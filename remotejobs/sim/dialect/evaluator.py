"""Runs the tree of a script: statements, expressions, pipelines.

Knows the tree, the operators and the port to the streams. Must not know cmdlets beyond how one is called. Everything is
a coroutine: a script can be stopped wherever it waits, it gives others a turn in loops, and its output waits for room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remotejobs.sim.dialect import members, operators
from remotejobs.sim.dialect import nodes as n
from remotejobs.sim.dialect.conversions import convert, plain, to_bool, to_number
from remotejobs.sim.dialect.errors import EnoughItems, Failure, Flow, Refusal, failure
from remotejobs.sim.dialect.host import HostObject, call_host
from remotejobs.sim.dialect.members import TypeName
from remotejobs.sim.dialect.scopes import UNKNOWN, Emit, Scopes, Session, Stage
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.records import ErrorRecord, NetException, Position, runtime_exception
from remotejobs.sim.values import NOTHING, Hashtable, PSObject, ScriptBlock, is_array, items, to_text


class Evaluator(Scopes):
    """One pipeline's run in a session."""

    def __init__(
        self, session: Session, streams: Streams, resolve: Callable[..., Stage], blocks: Callable[..., Stage]
    ) -> None:
        super().__init__(session, streams)
        self._resolve = resolve
        self._blocks = blocks
        self._trying = 0

    # Statements

    async def statements(self, body: list[n.Node], emit: Emit) -> None:
        """Run statements; an error ends its statement, and the script only where it was thrown or is caught."""
        for node in body:
            self.frames[-1].line = self.frames[-1].source.position(node.start, node.end).line
            try:
                await self._statement(node, emit)
            except Failure as found:
                self.locate(found.record, node)
                if found.thrown or self._trying:
                    raise
                await self.report(found.record)

    async def _statement(self, node: n.Node, emit: Emit) -> None:
        match node:
            case n.If():
                for condition, body in node.clauses:
                    if condition is None or to_bool(await self.value(condition)):
                        return await self.statements(body, emit)
            case n.Loop():
                await self._loop(node, emit)
            case n.ForEach():
                await self._foreach(node, emit)
            case n.Switch():
                await self._switch(node, emit)
            case n.Try():
                await self._try(node, emit)
            case n.Flow():
                await self._flow(node, emit)
            case n.Function():
                self.session.functions[node.name.lower()] = node.block
            case n.Pipeline():
                await self._pipeline(node, emit)
            case n.Assignment():
                await self._assign(node)
            case n.Step():
                await self.value(node)
            case _:
                for item in items(plain_array(await self.value(node))):
                    await self.breathe()
                    await emit(item)
        return None

    async def _body(self, body: list[n.Node], emit: Emit) -> bool:
        """One pass of a loop; False ends it."""
        await self.breathe()
        try:
            await self.statements(body, emit)
        except Flow as jump:
            if jump.keyword not in {"break", "continue"}:
                raise
            return jump.keyword == "continue"
        return True

    async def _loop(self, node: n.Loop, emit: Emit) -> None:
        if node.initial:
            await self._statement(node.initial, emit)
        first = not node.test_first
        while first or node.condition is None or to_bool(await self.value(node.condition)) is not node.negated:
            first = False
            if not await self._body(node.body, emit):
                break
            if node.step:
                await self._statement(node.step, emit)

    async def _foreach(self, node: n.ForEach, emit: Emit) -> None:
        for item in items(plain_array(await self.value(node.values))):
            self.assign(node.variable.name, item, node.variable.scope)
            if not await self._body(node.body, emit):
                break

    async def _switch(self, node: n.Switch, emit: Emit) -> None:
        for item in items(plain_array(await self.value(node.values))):
            self.assign("_", item)
            matched = False
            for condition, body in node.clauses:
                if condition is None:
                    if matched:
                        continue
                elif isinstance(condition, n.BlockLiteral):
                    if not to_bool(collapse(await self.collect(condition.block.body))):
                        continue
                elif not operators.equal(item, await self.value(condition)):
                    continue
                matched = True
                if not await self._body(body, emit):
                    return

    async def _try(self, node: n.Try, emit: Emit) -> None:
        try:
            self._trying += 1
            try:
                await self.statements(node.body, emit)
            finally:
                self._trying -= 1
        except Failure as found:
            for types, body in node.catches:
                if not types or any(_is_exception(found.record.exception, name) for name in types):
                    self.variable("error").insert(0, found.record)
                    await self._catch(found, body, emit)
                    break
            else:
                raise
        finally:
            if node.final:
                await self.statements(node.final, emit)

    async def _catch(self, found: Failure, body: list[n.Node], emit: Emit) -> None:
        variables = self.frames[-1].variables
        before = variables.get("_", NOTHING)
        variables["_"] = found.record
        variables["<caught>"] = found
        try:
            await self.statements(body, emit)
        finally:
            if before is NOTHING:
                variables.pop("_", None)
            else:
                variables["_"] = before

    async def _flow(self, node: n.Flow, emit: Emit) -> None:
        if node.keyword == "return" and node.value:
            await self._statement(node.value, emit)
            raise Flow("return")
        value = await self.value(node.value) if node.value else NOTHING
        if node.keyword != "throw":
            raise Flow(node.keyword, value)
        if value is NOTHING and "<caught>" in self.frames[-1].variables:
            raise self.frames[-1].variables["<caught>"]
        if isinstance(value, ErrorRecord):
            raise Failure(value, thrown=True)
        if isinstance(value, NetException):
            raise Failure(ErrorRecord(value, value.message, "OperationStopped"), thrown=True)
        message = "ScriptHalted" if value is NOTHING or value is None else to_text(value)
        target = None if value is NOTHING else value
        exception = runtime_exception(message, thrown=True)
        raise Failure(ErrorRecord(exception, message, "OperationStopped", target), thrown=True)

    async def _assign(self, node: n.Assignment) -> None:
        if isinstance(node.value, (n.Pipeline, n.If, n.ForEach, n.Loop, n.Switch, n.Try, n.Flow)):
            value = collapse(await self.collect([node.value]))
        else:
            value = await self.value(node.value)
        if node.operator:
            value = operators.binary(node.operator, await self.value(node.target), value)
        await self.store(node.target, value)

    async def store(self, target: n.Node, value: Any) -> None:
        """Assign to a variable, a member or an element."""
        match target:
            case n.Variable():
                self.assign(target.name, value, target.scope)
            case n.Member():
                members.set_property(await self.value(target.target), to_text(await self.value(target.name)), value)
            case n.Index():
                members.set_index(await self.value(target.target), await self.value(target.index), value)

    # Pipelines

    async def _pipeline(self, node: n.Pipeline, emit: Emit) -> None:
        stages: list[Stage] = []
        commands = node.stages if isinstance(node.stages[0], n.Command) else node.stages[1:]
        out = emit
        for position, command in reversed(list(enumerate(commands))):
            assert isinstance(command, n.Command)
            stage = await self._stage(command, out, last=position == len(commands) - 1)
            stages.insert(0, stage)
            out = stage.process
        source = None if isinstance(node.stages[0], n.Command) else node.stages[0]
        await self.pump(stages, source)

    async def pump(self, stages: list[Stage], source: n.Node | None, feed: Any = None) -> None:
        """Run stages: begin all, feed the first, end all in turn."""
        for stage in stages:
            await stage.begin()
        try:
            if source is not None:
                for item in items(plain_array(await self.value(source))):
                    await self.breathe()
                    await stages[0].process(item)
            elif feed is not None:
                async for item in feed:
                    await stages[0].process(item)
            for position in range(len(stages)):
                await stages[position].end()
        except EnoughItems as enough:
            if enough.stage not in stages:
                raise
            for stage in stages[stages.index(enough.stage) :]:
                await stage.end()

    async def _stage(self, node: n.Command, emit: Emit, *, last: bool) -> Stage:
        position = self.frames[-1].source.position(node.start, node.end)
        name = await self.value(node.name)
        arguments: list[tuple[str | None, Any]] = []
        for argument in node.arguments:
            if isinstance(argument, n.NamedArgument):
                arguments.append(
                    (argument.name, NOTHING if argument.value is None else await self.value(argument.value))
                )
            elif isinstance(argument, n.Variable) and argument.splatted:
                splat = plain(self.variable(argument.name))
                pairs = splat.items() if isinstance(splat, Hashtable) else [(None, v) for v in items(splat)]
                arguments.extend(pairs)
            else:
                value = await self.value(argument)
                arguments.append((None, None if value is NOTHING else value))
        quiet = {r.stream for r in node.redirections if not r.merge}
        if quiet & {"1", "*"} and last:
            emit = _discard
        if any(r.merge for r in node.redirections):
            raise Refusal("redirection of streams into the output", position)
        stage = self.command(
            name, arguments, emit, position, self.frames[-1].source.position(node.name.start, node.name.end)
        )
        if quiet - {"1"}:
            if not hasattr(stage, "silence"):
                raise Refusal("redirection of a function's streams", position)
            stage.silence(quiet)
        return stage

    def command(
        self, name: Any, arguments: list[tuple[str | None, Any]], emit: Emit, position: Position, word: Position
    ) -> Stage:
        """The stage of a command by its name, or of a script block."""
        if isinstance(name, ScriptBlock):
            return self._blocks(self, name.block, arguments, emit, "<ScriptBlock>")
        block = self.session.functions.get(to_text(name).lower())
        if block:
            return self._blocks(self, block, arguments, emit, to_text(name))
        return self._resolve(self, to_text(name), arguments, emit, position, word)

    async def collect(self, body: list[n.Node]) -> list[Any]:
        """Run statements and give their output."""
        found: list[Any] = []

        async def emit(item: Any) -> None:
            found.append(item)

        await self.statements(body, emit)
        return found

    # Expressions

    async def value(self, node: n.Node) -> Any:
        """The value of an expression, or of a pipeline as one."""
        match node:
            case n.Literal():
                return node.value
            case n.Expandable():
                return "".join([p if isinstance(p, str) else to_text(await self.value(p)) for p in node.parts])
            case n.Variable():
                return self._read(node)
            case n.ArrayLiteral():
                return [none(await self.value(item)) for item in node.items]
            case n.Group():
                return await self._group(node)
            case n.HashLiteral():
                return await self._hash(node)
            case n.BlockLiteral():
                block = ScriptBlock(node.text)
                block.block = node.block
                return block
            case n.TypeLiteral():
                return TypeName(node.name)
            case n.Cast():
                return await self._cast(node)
            case n.Unary():
                return operators.unary(node.operator, none(await self.value(node.operand)))
            case n.Binary():
                return await self._binary(node)
            case n.Step():
                return await self._step(node)
            case n.Member():
                return await self._member(node)
            case n.Index():
                return members.get_index(await self.value(node.target), none(await self.value(node.index)))
            case n.Assignment():
                await self._assign(node)
                return await self.value(node.target)
        return collapse(await self.collect([node]))

    def _read(self, node: n.Variable) -> Any:
        if node.scope == "env":
            return self.session.environment.get(node.name.upper())
        if node.scope in {"global", "script"}:
            return self.session.variables.get(node.name.lower())
        if node.scope == "using":
            return self._using(node.name)
        name = "_" if node.name.lower() == "psitem" else node.name
        if name.lower() in UNKNOWN:
            raise Refusal(f"${node.name}")
        return self.variable(name)

    def _using(self, text: str) -> Any:
        for key in (text, text.lower()):  # a variable by itself is keyed in lower case
            if key in self.using:
                return self.using[key]
        message = (
            "A Using variable cannot be retrieved. A Using variable can be used only with Invoke-Command, Start-Job, "
            "or InlineScript in the script workflow. When it is used with Invoke-Command, the Using variable is valid "
            "only if the script block is invoked on a remote computer."
        )
        raise failure(message, "UsingWithoutInvokeCommand", "InvalidOperation", text)

    async def _group(self, node: n.Group) -> Any:
        found: list[Any] = []
        if node.kind == "(":
            return await self.value(node.body[0])
        trying, self._trying = self._trying, self._trying
        found = await self.collect(node.body)
        self._trying = trying
        return found if node.kind == "@" else collapse(found)

    async def _hash(self, node: n.HashLiteral) -> Hashtable:
        table = Hashtable()
        for key, value in node.entries:
            name = await self.value(key)
            if name in table:
                key_text = f"'{to_text(name)}'"
                message = f"Item has already been added. Key in dictionary: {key_text}  Key being added: {key_text}"
                raise failure(message, "System.ArgumentException")
            table[name] = none(
                collapse(await self.collect([value])) if isinstance(value, n.Pipeline) else await self.value(value)
            )
        return table

    async def _cast(self, node: n.Cast) -> Any:
        kind = node.type.lower()
        if kind in {"pscustomobject", "ordered"} and isinstance(node.operand, n.HashLiteral):
            table = await self._hash(node.operand)
            table.ordered = True
            return table if kind == "ordered" else custom_object(table)
        value = none(await self.value(node.operand))
        if kind in {"void", "pscustomobject"}:
            return NOTHING if kind == "void" else value
        return convert(value, node.type)

    async def _binary(self, node: n.Binary) -> Any:
        left = none(await self.value(node.left))
        if node.operator in {"and", "or"}:
            if to_bool(left) is (node.operator == "or"):
                return node.operator == "or"
            return to_bool(await self.value(node.right))
        right = none(await self.value(node.right))
        if node.operator.lstrip("ic").removeprefix("not") == "match" and not is_array(plain(left)):
            found = operators.regex(right, cased=node.operator[0] == "c").search(to_text(left))
            if found:
                groups = enumerate([found[0], *found.groups()])
                table = Hashtable(iter([(i, g) for i, g in groups if g is not None]))
                for name, group in found.groupdict().items():
                    table[name] = group
                self.assign("Matches", table)
        return operators.binary(node.operator, left, right)

    async def _step(self, node: n.Step) -> Any:
        old = to_number(await self.value(node.target))
        new = operators.binary(node.operator[0], old, 1)
        await self.store(node.target, new)
        return new if node.prefix else old

    async def _member(self, node: n.Member) -> Any:
        name = to_text(await self.value(node.name))
        target = await self.value(node.target)
        arguments = None if node.arguments is None else [none(await self.value(a)) for a in node.arguments]
        if node.static:
            if not isinstance(target, TypeName):
                raise Refusal("static members of anything but a type in brackets")
            return members.static(target, name, arguments, self.session.host.name)
        if isinstance(target, TypeName):
            raise Refusal(f"members of the type [{target}]")
        if arguments is None:
            return members.get_property(target, name)
        if isinstance(target, HostObject):
            return await call_host(target, name, arguments, self.streams)
        return members.call(target, name, arguments)


async def _discard(_: Any) -> None:
    """Output to $null."""


def none(value: Any) -> Any:
    """$null for a command that gave nothing."""
    return None if value is NOTHING else value


def collapse(found: list[Any]) -> Any:
    """What a command's output is as a value: nothing, the one item, or an array."""
    return NOTHING if not found else found[0] if len(found) == 1 else found


def plain_array(value: Any) -> Any:
    """An array inside an object that only adds type names is taken apart too."""
    return value.value if isinstance(value, PSObject) and is_array(value.value) else value


def custom_object(table: Hashtable) -> PSObject:
    """`[pscustomobject]@{}`; PSTypeName gives it a type name."""
    found = PSObject(extended={to_text(k): v for k, v in table.items()})
    if found.find("PSTypeName"):
        found.types = (to_text(found.extended.pop("PSTypeName")), *found.types)
    return found


def _is_exception(exception: NetException, name: str) -> bool:
    wanted = name.lower().removeprefix("system.")
    return any(t.lower().removeprefix("system.") == wanted for t in exception.types)
