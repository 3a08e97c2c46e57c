"""What a command's table is made of: parameters, the parameter sets they belong to, the command itself.

Knows the shape of the tables. Must not know how words are bound to them, nor any one command (commands.py has those).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from remotejobs.cli.values import ParameterType

ALL_SETS = "__AllParameterSets"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Membership(NamedTuple):
    """How a parameter takes part in one parameter set."""

    position: int | None = None
    mandatory: bool = False


def within(*sets: str, position: int | None = None, mandatory: bool = False) -> dict[str, Membership]:
    """Membership in `sets`, the same in each; in all sets where none is named."""
    return dict.fromkeys(sets or (ALL_SETS,), Membership(position, mandatory))


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        name: Its name, PascalCase; the `--kebab-case` twin is derived.
        type: What its value becomes.
        help: One or two sentences.
        sets: The parameter sets that it is in, and how.
        aliases: Other names.
        default: What help says is used without it; empty for nothing.
        not_empty: Refuse `$null`, an empty text, and lists with such an element (ValidateNotNullOrEmpty).
        minimum, maximum: Smallest and largest number allowed (ValidateRange).
        remaining: Takes every positional argument that is left over (ValueFromRemainingArguments).
        common: A parameter of every command; gives way to the command's own when a prefix fits both.
        setting: Its default may be set in `[defaults]` of the configuration (see setting_key).
    """

    name: str
    type: ParameterType
    help: str = ""
    sets: Mapping[str, Membership] = within()
    aliases: tuple[str, ...] = ()
    default: str = ""
    not_empty: bool = False
    minimum: int | None = None
    maximum: int | None = None
    remaining: bool = False
    common: bool = False
    setting: bool = False

    def membership(self, parameter_set: str) -> Membership | None:
        """How it takes part in `parameter_set`; None where it does not."""
        return self.sets.get(parameter_set) or self.sets.get(ALL_SETS)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and aliases."""
        return (self.name, *self.aliases)

    @property
    def kebab_names(self) -> tuple[str, ...]:
        """The same in GNU's manner: `UseSSL` is `use-ssl`."""
        return tuple(_WORD.sub("-", name).lower() for name in self.names)

    @property
    def setting_key(self) -> str:
        """What it is called in the configuration: `UseSSL` is `use_ssl`."""
        return self.kebab_names[0].replace("-", "_")


class Example(NamedTuple):
    """A command line to copy, quoted for bash and PowerShell alike, and what it does."""

    line: str
    text: str


class Command(NamedTuple):
    """One verb.

    Attributes:
        name: The verb.
        synopsis: One sentence.
        parameters: Its parameters, in the order that help shows them.
        cmdlet: PowerShell's name for it, empty where it has none.
        aliases: Other names.
        default_set: The parameter set that is taken where several fit.
        refused: Names that people will try, with the sentence that says what to do instead.
        examples: Lines for help.
        check: Refuses values that bind but cannot go together (raises UsageError).
        unlike: What it does otherwise than the cmdlet, each a sentence or two with the reason, for help.
    """

    name: str
    synopsis: str
    parameters: tuple[Parameter, ...]
    cmdlet: str = ""
    aliases: tuple[str, ...] = ()
    default_set: str = ALL_SETS
    refused: Mapping[str, str] = MappingProxyType({})
    examples: tuple[Example, ...] = ()
    check: Callable[[Mapping[str, Any]], None] | None = None
    unlike: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of its parameter sets; the one default set where no parameter names any."""
        named = dict.fromkeys(name for parameter in self.parameters for name in parameter.sets if name != ALL_SETS)
        return tuple(named) or (self.default_set,)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it is called by."""
        return tuple(name for name in (self.name, self.cmdlet, *self.aliases) if name)
