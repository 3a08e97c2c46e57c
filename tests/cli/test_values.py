from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from remotejobs.cli.tables.common import AUTHENTICATION, OUTPUT_FORMAT
from remotejobs.cli.values import (
    BOOL,
    CLOCK,
    DATETIME,
    DURATION,
    INT,
    INTS,
    OBJECTS,
    PAIRS,
    SCRIPT,
    SCRIPT_FILE,
    SESSION_OPTION,
    SWITCH,
    TEXT,
    TEXTS,
    VERSION,
    ParameterType,
)
from remotejobs.cli.words import Argument, read

_EVENING = datetime(2026, 1, 31, 18, 30)  # noqa: DTZ001 - local time, as PowerShell reads it


def argument(text: str) -> Argument:
    (word,) = read(["--", text])
    assert isinstance(word, Argument)
    return word


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (TEXT, "007", "007"),
        (TEXT, "a,b", "a,b"),
        (TEXT, "$null", ""),
        (TEXT, "{0}", "{0}"),
        (TEXTS, "web[1,2],db", ["web[1,2]", "db"]),
        (TEXTS, "1e3", ["1e3"]),
        (TEXTS, "$null", None),
        (INT, "5.5", 6),
        (INT, "4.5", 4),
        (INT, "1kb", 1024),
        (INT, "'7'", 7),
        (INT, "$true", 1),
        (INT, "", 0),
        (INTS, "1,0x10", [1, 16]),
        (BOOL, "$false", False),
        (BOOL, "2", True),
        (SWITCH, "$true", True),
        (VERSION, "5.1", (5, 1)),
        (DATETIME, "2026-01-31T18:30", _EVENING),
        (DATETIME, "1/31/2026 6:30 PM", _EVENING),
        (DURATION, "30", 30.0),
        (DURATION, "1.5", 1.5),
        (DURATION, "500ms", 0.5),
        (DURATION, "2m", 120.0),
        (DURATION, "1H", 3600.0),
        (DURATION, "0", 0.0),
        (CLOCK, "off", None),
        (CLOCK, "0", None),
        (CLOCK, "90s", 90.0),
        (SCRIPT, "Get-Service a,b", "Get-Service a,b"),
        (SCRIPT, "1,2", "1,2"),
        (SCRIPT, "{ 1 }", " 1 "),
        (SCRIPT, "'x'", "'x'"),
        (OBJECTS, "1,a,$true,$null,'5',2.5", [1, "a", True, None, "5", 2.5]),
        (OBJECTS, "Hello, world", ["Hello, world"]),
        (OBJECTS, '{"a":1,"b":[2,3]}', ['{"a":1,"b":[2,3]}']),
        (OBJECTS, "$null", None),
        (AUTHENTICATION, "BASIC", "Basic"),
        (AUTHENTICATION, "Negotiate", "Negotiate"),
        (AUTHENTICATION, "negotiatew", "NegotiateWithImplicitCredential"),
        (AUTHENTICATION, "6", "Kerberos"),
        (OUTPUT_FORMAT, "jsonl", "Jsonl"),
        (OUTPUT_FORMAT, "json", "Json"),
    ],
)
def test_conversion(type_: ParameterType, text: str, value: Any) -> None:
    result = type_.convert(argument(text))
    assert result == value
    assert type(result) is type(value)


_NO_BOOL = "Boolean parameters accept only Boolean values and numbers, such as $True, $False, 1 or 0."
_NO_VERSION = "Version string portion was too short or too long. (Parameter 'input')"
_NO_MEMBER = (
    "Unable to match the identifier name Bogus to a valid enumerator name. Specify one of the following enumerator"
    " names and try again:\nDefault, Basic, Negotiate, NegotiateWithImplicitCredential, Credssp, Digest, Kerberos"
)


@pytest.mark.parametrize(
    ("type_", "text", "reason"),
    [
        (INT, "abc", "The input string 'abc' was not in a correct format."),
        (INT, "3gb", "Value was either too large or too small for an Int32."),
        (VERSION, "5", _NO_VERSION),
        (AUTHENTICATION, "Bogus", _NO_MEMBER),
    ],
)
def test_values_that_powershell_cannot_read(type_: ParameterType, text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        type_.convert(argument(text))
    assert str(caught.value) == f'Cannot convert value "{text}" to type "{type_.name}". Error: "{reason}"'


@pytest.mark.parametrize(
    ("type_", "text", "value", "kind"),
    [
        (INT, "1,2", "System.Object[]", "System.Object[]"),
        (TEXTS, "{ 1 }", " 1 ", "System.Management.Automation.ScriptBlock"),
        (SWITCH, "1", "1", "System.Int32"),
        (SWITCH, "2.5", "2.5", "System.Double"),
    ],
)
def test_values_that_powershell_does_not_convert(type_: ParameterType, text: str, value: str, kind: str) -> None:
    with pytest.raises(ValueError) as caught:
        type_.convert(argument(text))
    assert str(caught.value) == f'Cannot convert the "{value}" value of type "{kind}" to type "{type_.name}".'


@pytest.mark.parametrize("type_", [BOOL, SWITCH])
def test_a_word_is_no_bool(type_: ParameterType) -> None:
    with pytest.raises(ValueError) as caught:
        type_.convert(argument("true"))
    assert str(caught.value) == f'Cannot convert value "System.String" to type "{type_.name}". {_NO_BOOL}'


@pytest.mark.parametrize(
    ("type_", "text", "part"),
    [
        (VERSION, "5.x", "correct format"),
        (VERSION, "1.²", "correct format"),
        (DATETIME, "notadate", "The string 'notadate' was not recognized as a valid DateTime."),
        (DURATION, "-1", "500ms, 2m"),
        (DURATION, "nan", "500ms, 2m"),
        (DURATION, "1e300d", "500ms, 2m"),
        (CLOCK, "never", "500ms, 2m"),
        (AUTHENTICATION, "n", "too similar or identical to the following enumerator names: Negotiate, Negotiate"),
        (AUTHENTICATION, "99", "The possible enumeration values are"),
        (AUTHENTICATION, "Basic,Kerberos", "The possible enumeration values are"),
        (AUTHENTICATION, "$null", "Cannot convert null to type"),
        (AUTHENTICATION, "", "Unable to match"),
        (SESSION_OPTION, "SkipCACheque", "Did you mean SkipCACheck?"),
        (SESSION_OPTION, "xyz=1", "Known are OperationTimeout,"),
        (SESSION_OPTION, "CAFile", "CAFile=<string>"),
        (SESSION_OPTION, "OperationTimeout=", "OperationTimeout=<seconds>"),
        (SESSION_OPTION, "OperationTimeout=x", "'OperationTimeout': Cannot convert"),
        (SESSION_OPTION, "OperationTimeout=0", "cannot be 0"),
        (SESSION_OPTION, "MaxConnectionRetryCount=-1", "cannot be -1"),
        (SESSION_OPTION, "SkipCNCheck=maybe", "Boolean"),
        (SESSION_OPTION, "IdleTimeout=59", "at least 60 seconds"),
        (SESSION_OPTION, "CAFile=a,cafile=b", "given twice"),
    ],
)
def test_refusals(type_: ParameterType, text: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        type_.convert(argument(text))
    assert part in str(caught.value)


def test_session_options() -> None:
    text = "skipcacheck, SkipCNCheck=true,AllowUnencrypted=$false,CAFile=C:\\my certs\\ca.pem,OperationTimeout=500ms"
    assert SESSION_OPTION.convert(argument(text)) == {
        "skip_ca_check": True,
        "skip_cn_check": True,
        "allow_unencrypted": False,
        "ca_file": "C:\\my certs\\ca.pem",
        "operation_timeout": 0.5,
    }
    assert SESSION_OPTION.convert(argument("MaximumReceivedObjectSize=10mb,IdleTimeout=1h")) == {
        "maximum_received_object_size": 10 << 20,
        "idle_timeout": 3600.0,
    }


@pytest.mark.parametrize(
    ("type_", "text", "exact"),
    [
        (TEXT, "web01", True),
        (TEXT, "5", False),
        (TEXT, "'5'", True),
        (TEXT, "{ 1 }", False),
        (TEXT, "a,b", False),
        (TEXTS, "a,b", True),
        (TEXTS, "a,1", False),
        (INT, "5", True),
        (INT, "5.5", False),
        (INT, "3000000000", False),
        (INTS, "1,2", True),
        (INTS, "1,a", False),
        (SWITCH, "$true", True),
        (AUTHENTICATION, "Basic", False),
        (SCRIPT, "Get-Date", True),
        (SCRIPT, "deploy.ps1", False),
        (SCRIPT, "& ./deploy.ps1", True),
        (SCRIPT, "{ deploy.ps1 }", True),
        (SCRIPT_FILE, "deploy.PS1", True),
        (SCRIPT_FILE, "Get-Date", False),
    ],
)
def test_what_binds_without_a_conversion(type_: ParameterType, text: str, *, exact: bool) -> None:
    assert type_.exact(argument(text)) is exact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Name=WinRM", {"Name": "WinRM"}),
        ("-Name=WinRM,Count=5,On=$true,Empty=$null", {"Name": "WinRM", "Count": 5, "On": True, "Empty": None}),
        ("Name=WinRM,Spooler,Count=1kb", {"Name": ["WinRM", "Spooler"], "Count": 1024}),
        ("who=x y,n=4", {"who": "x y", "n": 4}),
        ("a='b, c=d',e=\"'f'\",g=", {"a": "b, c=d", "e": "'f'", "g": ""}),
        ("T=x=y,W=web[1,3]", {"T": "x=y", "W": "web[1,3]"}),
        ("Id:string=007,B:bool=true,S:switch=$false", {"Id": "007", "B": True, "S": False}),
        ("When:datetime=2026-01-31T18:30", {"When": _EVENING}),
        ("D:decimal=1.10,F:double=3", {"D": Decimal("1.10"), "F": 3.0}),
        ("S:timespan=1.00:05:00,T:timespan=-00:00:01.5,U:timespan=5m", {
            "S": timedelta(days=1, minutes=5), "T": timedelta(seconds=-1.5), "U": timedelta(minutes=5)
        }),
        ("G:guid=00000000-0000-0000-0000-000000000007", {"G": UUID(int=7)}),
    ],
)  # fmt: skip
def test_named_values(text: str, value: Any) -> None:
    found = PAIRS.convert(argument(text))
    assert found == value
    assert str(found) == str(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Verbose", r"Write a switch as Verbose=\$true"),
        ("a=1,A=2", "'A' is given twice"),
        ("a:nope=1", "has the type 'nope'; known are string, int"),
        ("a:int=x", "'a': Cannot convert value"),
        ("a:decimal=x", "'a': Cannot convert value"),
        ("a:double=x", "'a': Cannot convert value"),
    ],
)
def test_named_values_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PAIRS.convert(argument(text))
