"""The table of `config`: parameters and examples.

Knows what the command line offers, in words for its users. Must not know how words are bound or what the verb does, and
must stay cheap to import.
"""

from __future__ import annotations

from remotejobs.cli.parameters import Command, Example, Parameter, within
from remotejobs.cli.tables.common import COMMON
from remotejobs.cli.values import TEXTS, enum

_FORMAT = enum("OutputFormat", "format", {"Table": 1, "Json": 3})

CONFIG = Command(
    "config",
    "Show every setting and credential of the configuration, what it is, and who says so. Passwords are never shown.",
    (
        Parameter(
            "Name",
            TEXTS,
            "Only settings with these names: defaults.use_ssl, 'credential.*'; * and ? stand for any characters.",
            within(position=0),
            not_empty=True,
        ),
        Parameter("OutputFormat", _FORMAT, "How they are printed.", default="Table"),
        *COMMON,
    ),
    examples=(
        Example(
            "remotejob config",
            "Everything. Settings are read from /etc/remotejobs/config.toml, then from config.toml in the user's own"
            " folder (the last lines say where; REMOTEJOBS_CONFIG names another file), then from variables like"
            " REMOTEJOBS_USE_SSL and REMOTEJOBS_RETENTION_DAYS; flags count most. In the files, [defaults] has the"
            " flags of invoke and the keys of -SessionOption in snake case (use_ssl = true, ca_file = 'ca.pem'),"
            " [retention] has days and size.",
        ),
        Example(
            "remotejob config 'credential.*'",
            "The credentials, which -Credential NAME and credential=NAME in a server list use. [credential.ops] has"
            " username = 'CORP\\ops' and a provider, with keys of its own: prompt; keyring (service); env (variable);"
            " file (path); command (command = ['pass', 'show', 'ops'], timeout), the first line that it prints;"
            " kerberos (keytab, ccache).",
        ),
        Example("remotejob config defaults.authentication -OutputFormat Json", "One setting, for a program."),
    ),
)
