"""The `[defaults]` of the configuration as values of parameters, as PowerShell's $PSDefaultParameterValues does it.

Knows which parameters have a setting, by their tables. Must not know what a verb does with them, and does not read the
configuration for a verb that has no such parameter.
"""

from __future__ import annotations

from typing import Any

from remotejobs.cli.binder import Bound
from remotejobs.cli.parameters import Command
from remotejobs.cli.values import SESSION_OPTION
from remotejobs.model import SessionOption


def with_defaults(command: Command, bound: Bound) -> Bound:
    """Add to what was typed what the configuration says of parameters that were not, where their set has them.

    -SessionOption is put together key by key.

    Raises:
        ConfigurationError: A file or a variable is refused.
    """
    if not any(parameter.setting for parameter in command.parameters):
        return bound
    from remotejobs.config.load import load
    from remotejobs.config.settings import DEFAULTS, OPTIONS

    given = load().given(DEFAULTS)
    values: dict[str, Any] = dict(bound.values)
    for parameter in command.parameters:
        if not parameter.setting or not parameter.membership(bound.parameter_set):
            continue
        if parameter.type is SESSION_OPTION:
            options = {key: value for key, value in given.items() if key in OPTIONS}
            values[parameter.name] = SessionOption(**options | values.get(parameter.name, {}))
        elif parameter.name == "Credential" and values.get("Authentication") == "NegotiateWithImplicitCredential":
            continue  # the way to say: as who I am, not as the configuration has it
        elif parameter.name not in values and parameter.setting_key in given:
            values[parameter.name] = given[parameter.setting_key]
    return Bound(values, bound.parameter_set)
