"""PowerShell's parameter binder over a command's table: names, positions, parameter sets, mandatory parameters.

Knows the order in which PowerShell binds (CmdletParameterBinderController) and its error ids and sentences. Must not
know any one command, the terminal, files or the environment.

The order matters, it decides which of several mistakes is reported: pairing names with values (MissingArgument,
AmbiguousParameter), conversion of named values, positions (default set before the others, without conversion before
with), sets that exclude each other, what is left over, the set to take, mandatory parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from remotejobs.cli.parameters import Command, Parameter
from remotejobs.cli.words import Argument, Name, read, suggestion
from remotejobs.errors import BindingError

_Word = Name | Argument
_NO_SET = (
    "Parameter set cannot be resolved using the specified named parameters. One or more parameters issued cannot be"
    " used together or an insufficient number of parameters were provided."
)


class Bound(NamedTuple):
    """What a command line came to.

    Attributes:
        values: Values by canonical parameter name; only of what was given.
        parameter_set: The set that was taken.
    """

    values: dict[str, Any]
    parameter_set: str


def bind(command: Command, argv: Sequence[str]) -> Bound:
    """Bind the words after the verb to the parameters of `command`.

    Raises:
        BindingError: With PowerShell's error id and sentence, and what would help. Its details have `parameter`
            where there is one.
    """
    binding = _Binding(command)
    named, unbound = _pair(command, read(argv))
    for parameter, value in named:
        binding.bind_named(parameter, value)
    unbound = binding.bind_positions(unbound)
    if not binding.valid:
        raise BindingError(f"{_NO_SET}{binding.conflict()}", error_id="AmbiguousParameterSet")
    unbound = binding.bind_remaining(unbound)
    if unbound:
        raise _not_found(command, unbound[0])
    return Bound(binding.values, binding.resolve())


def _pair(command: Command, words: list[_Word]) -> tuple[list[tuple[Parameter, Argument | bool]], list[_Word]]:
    """Give each name its value, or the one after it (ReparseUnboundArguments); second: what is left, in order."""
    named, unbound, index = list[tuple[Parameter, Argument | bool]](), list[_Word](), 0
    while index < len(words):
        word = words[index]
        index += 1
        parameter = _match(command, word) if isinstance(word, Name) else None
        if parameter is None or isinstance(word, Argument):
            unbound.append(word)
        elif word.value is not None:
            named.append((parameter, word.value))
        elif parameter.type.switch and not word.colon:
            named.append((parameter, True))
        elif index == len(words) or not _is_value(command, parameter, words[index]):
            raise _missing_argument(parameter)
        else:
            following = words[index]
            index += 1
            value = Argument(following.raw, raw=following.raw) if isinstance(following, Name) else following
            named.append((parameter, value))
    return named, unbound


def _is_value(command: Command, parameter: Parameter, word: _Word) -> bool:
    """A word that begins with a dash is a value where no parameter has that name (`-JobName -x`)."""
    if parameter.type.switch:  # -Switch: with the value lost; only a value that can be one is taken for it
        return isinstance(word, Argument) and isinstance(word.constant, bool)
    return isinstance(word, Argument) or (word.value is None and _match(command, word) is None)


def _missing_argument(parameter: Parameter) -> BindingError:
    hint = ""
    if parameter.type.switch:
        hint = f" A shell such as bash eats an unquoted $false: write '-{parameter.name}:$false' in single quotes."
    return BindingError(
        f"Missing an argument for parameter '{parameter.name}'. Specify a parameter of type '{parameter.type.name}'"
        f" and try again.{hint}",
        error_id="MissingArgument",
        parameter=parameter.name,
    )


def _match(command: Command, name: Name) -> Parameter | None:
    """Find the parameter: an exact name or alias, else a unique beginning; None where nothing fits."""
    wanted = name.name.casefold()
    for refused, advice in command.refused.items():
        if wanted.partition("=")[0].replace("-", "") == refused.casefold():
            raise BindingError(advice, error_id="NamedParameterNotFound", parameter=refused)
    if name.kebab:
        return next((each for each in command.parameters if wanted in each.kebab_names), None)
    found = [
        parameter
        for parameter in command.parameters
        if any(candidate.casefold().startswith(wanted) for candidate in parameter.names)
    ]
    for parameter in found:
        if wanted in (candidate.casefold() for candidate in parameter.names):
            return parameter
    own = [parameter for parameter in found if not parameter.common]
    if len(own) == 1 or len(found) == 1:
        return (own or found)[0]
    if found:
        raise BindingError(
            f"Parameter cannot be processed because the parameter name '{name.name}' is ambiguous. Possible matches"
            f" include:{''.join(f' -{parameter.name}' for parameter in found)}.",
            error_id="AmbiguousParameter",
            candidates=[parameter.name for parameter in found],
        )
    return None


def _not_found(command: Command, word: _Word) -> BindingError:
    """The error for a name or an argument that belongs to no parameter."""
    if isinstance(word, Argument):
        if isinstance(word.constant, bool):
            text, hint = str(word.constant), "A switch takes its value behind a colon, -Name:$false."
        else:
            text, hint = word.block or word.text, "What has blanks in it, a script block too, goes in quotes."
        return BindingError(
            f"A positional parameter cannot be found that accepts argument '{text}'. {hint}",
            error_id="PositionalParameterNotFound",
        )
    names = [name for parameter in command.parameters for name in parameter.names]
    wanted, equals, _ = word.name.partition("=")
    exact = next((name for name in names if name.casefold() == wanted.casefold()), "")
    hint = f" Write -{exact} and its value as two words." if equals and exact else suggestion(wanted, names, "-")
    if word.kebab:
        twins = [name for parameter in command.parameters for name in parameter.kebab_names]
        return BindingError(
            f"A positional parameter cannot be found that accepts argument '--{word.name}'."
            f"{suggestion(word.name, twins, '--')}",
            error_id="PositionalParameterNotFound",
        )
    return BindingError(
        f"A parameter cannot be found that matches parameter name '{word.name}'.{hint}",
        error_id="NamedParameterNotFound",
        parameter=word.name,
    )


class _Place(NamedTuple):
    """One position of one parameter set."""

    position: int
    parameter_set: str
    parameter: Parameter


class _Binding:
    """The values bound so far, and the parameter sets that are still possible."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.valid = frozenset(command.sets)
        self.bound: dict[str, Parameter] = {}
        self.values: dict[str, Any] = {}

    def bind_named(self, parameter: Parameter, value: Argument | bool) -> None:
        if parameter.name in self.bound:
            raise BindingError(
                f"Cannot bind parameter because parameter '{parameter.name}' is specified more than once. To provide"
                " multiple values to parameters that can accept multiple values, use the array syntax. For example,"
                ' "-parameter value1,value2,value3".',
                error_id="ParameterAlreadyBound",
                parameter=parameter.name,
            )
        self._bind(parameter, _convert(parameter, value) if isinstance(value, Argument) else value)

    def bind_positions(self, unbound: list[_Word]) -> list[_Word]:
        """Give each position its argument; return what found no place.

        As in PowerShell, the places are looked up once, and a name that no parameter has takes the argument after it.
        """
        rest = list(unbound)
        arguments = [
            word
            for before, word in pairwise([None, *unbound])
            if isinstance(word, Argument) and not isinstance(before, Name)
        ]
        places = list(self._places())
        for position in sorted({place.position for place in places}):
            here = [place for place in places if place.position == position and place.parameter_set in self.valid]
            if here and arguments and self._bind_position(here, argument := arguments.pop(0)):
                rest.remove(argument)
        return rest

    def bind_remaining(self, unbound: list[_Word]) -> list[_Word]:
        """Give what is left over to the parameter that takes it all; names stay, they are mistakes."""
        arguments = [word for word in unbound if isinstance(word, Argument)]
        for parameter in self.command.parameters:
            if arguments and parameter.remaining and parameter.name not in self.bound:
                items = tuple(item for argument in arguments for item in argument.elements)
                raw = " ".join(argument.raw for argument in arguments)
                whole = Argument(raw, items=items, raw=raw) if len(items) > 1 else arguments[0]
                self._bind(parameter, _convert(parameter, whole))
                return [word for word in unbound if isinstance(word, Name)]
        return unbound

    def resolve(self) -> str:
        """Choose the set: the default one if it is possible, else the only one that lacks nothing; then check it."""
        missing = {name: self._missing(name) for name in self.command.sets if name in self.valid}
        chosen = [name for name in missing if name == self.command.default_set] or list(missing)
        if len(chosen) > 1:
            chosen = [name for name in chosen if not missing[name]]
        if len(chosen) != 1:
            needed = dict.fromkeys(" and ".join(f"-{name}" for name in names) for names in missing.values())
            hint = f" Add {' or '.join(needed)}." if all(needed) else ""
            raise BindingError(f"{_NO_SET}{hint}", error_id="AmbiguousParameterSet")
        if missing[chosen[0]]:
            raise BindingError(
                "Cannot process command because of one or more missing mandatory parameters:"
                f" {' '.join(missing[chosen[0]])}.",
                error_id="MissingMandatoryParameter",
                parameters=missing[chosen[0]],
            )
        return chosen[0]

    def conflict(self) -> str:
        """Name two parameters that share no set."""
        given = list(self.bound.values())
        for index, first in enumerate(given):
            for second in given[index + 1 :]:
                if not any(first.membership(name) and second.membership(name) for name in self.command.sets):
                    return f" -{first.name} and -{second.name} cannot be used together."
        return ""

    def _places(self) -> Iterator[_Place]:
        """Every position of every set that is still possible, of parameters that have no value yet."""
        for parameter in self.command.parameters:
            for name in self.command.sets:
                member = parameter.membership(name)
                if parameter.name not in self.bound and name in self.valid and member and member.position is not None:
                    yield _Place(member.position, name, parameter)

    def _bind_position(self, places: list[_Place], argument: Argument) -> bool:
        """Bind `argument` at a position, in the four rounds of BindPositionalParameters.

        In one round more than one parameter may take it: then no set is left, and that is PowerShell's answer too.
        """
        default = self.valid & {self.command.default_set}
        for coerce, sets in ((False, default), (False, self.valid), (True, default), (True, self.valid)):
            candidates = {place.parameter.name: place.parameter for place in places if place.parameter_set in sets}
            takers = [each for each in candidates.values() if coerce or each.type.exact(argument)]
            for parameter in takers:
                self._bind(parameter, _convert(parameter, argument))
            if takers:
                return True
        return False

    def _bind(self, parameter: Parameter, value: Any) -> None:
        self.bound[parameter.name] = parameter
        self.values[parameter.name] = value
        self.valid = frozenset(name for name in self.valid if parameter.membership(name))

    def _missing(self, parameter_set: str) -> list[str]:
        """The mandatory parameters of a set that were not given."""
        members = ((parameter.name, parameter.membership(parameter_set)) for parameter in self.command.parameters)
        return [name for name, member in members if member and member.mandatory and name not in self.bound]


def _convert(parameter: Parameter, argument: Argument) -> Any:
    try:
        value = parameter.type.convert(argument)
    except ValueError as error:
        raise BindingError(
            f"Cannot process argument transformation on parameter '{parameter.name}'. {error}",
            error_id="ParameterArgumentTransformationError",
            parameter=parameter.name,
        ) from error
    reason = _invalid(parameter, value)
    if reason:
        raise BindingError(
            f"Cannot validate argument on parameter '{parameter.name}'. {reason}",
            error_id="ParameterArgumentValidationError",
            parameter=parameter.name,
        )
    return value


def _invalid(parameter: Parameter, value: Any) -> str:
    if parameter.not_empty and value in (None, "", []):
        return (
            "The argument is null or empty. Provide an argument that is not null or empty, and then try the command"
            " again."
        )
    if parameter.not_empty and isinstance(value, list) and any(item in (None, "") for item in value):
        return (
            "The argument is null, empty, or an element of the argument collection contains a null value. Supply a"
            " collection that does not contain any null values and then try the command again."
        )
    if parameter.minimum is not None and value < parameter.minimum:
        return (
            f"The {value} argument is less than the minimum allowed range of {parameter.minimum}. Supply an argument"
            f" that is greater than or equal to {parameter.minimum} and then try the command again."
        )
    if parameter.maximum is not None and value > parameter.maximum:
        return (
            f"The {value} argument is greater than the maximum allowed range of {parameter.maximum}. Supply an argument"
            f" that is less than or equal to {parameter.maximum} and then try the command again."
        )
    return ""
