"""CLIXML as PowerShell wrote it and read it: values made in Python byte for byte, and what is read value for value."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import Any

import pytest

from remotejobs.errors import ProtocolError
from remotejobs.views.tojson import to_json
from remotejobs.wsman.clixml.read import deserialize, objects
from remotejobs.wsman.clixml.scalars import BigInteger, Byte, Char, Int64, ScriptBlock, Single, Version
from remotejobs.wsman.clixml.values import NO_BASE, OrderedDictionary, PSObject
from remotejobs.wsman.clixml.write import serialize
from tests.recorded import recorded
from tests.wsman.clixml_recordings import Shown, check_names, check_text, element, lines

_WRITTEN = lines("serialize.jsonl")
_CUSTOM = ("System.Management.Automation.PSCustomObject", "System.Object")
_ENUM = ("System.Enum", "System.ValueType", "System.Object")


def _custom(**notes: Any) -> PSObject:
    return PSObject(_CUSTOM, extended=notes)


_SHARED = _custom(x=1)
_MADE: dict[str, Any] = {
    "int": 5,
    "string": "text",
    "char": Char("x"),
    "datetime-utc": None,  # there is no such constructor, as was recorded
    "double": 0.1,
    "double-large": 1.7976931348623157e308,
    "float": Single(0.1),
    "decimal": Decimal("1.50"),
    "bigint": BigInteger(123),
    "guid": uuid.UUID("12345678-1234-1234-1234-123456789abc"),
    "version": Version("1.2.3.4"),
    "semver": PSObject(
        ("System.Management.Automation.SemanticVersion", "System.Object"),
        "7.5.1",
        adapted={"Major": 7, "Minor": 5, "Patch": 1, "PreReleaseLabel": None, "BuildLabel": None},
    ),
    "bytes": [Byte(1), Byte(2), Byte(3)],
    "scriptblock": ScriptBlock(" 1 + 1 "),
    "array": [1, "a", None],
    "nested-array": [1, [2, [3, [4]]]],
    "hashtable": {"a": {"b": {"c": {"d": 1}}}},
    "ordered": OrderedDictionary(z=1, a=2),
    "pscustomobject": _custom(a=1, b="x"),
    "pscustomobject-deep": _custom(a=_custom(b=_custom(c=_custom(d=1)))),
    "shared-reference": [_SHARED, _SHARED],
    "enum": PSObject(("System.DayOfWeek", *_ENUM), "Friday", 5),
    "flags": PSObject(("System.IO.FileAttributes", *_ENUM), "ReadOnly, Hidden", 3),
    "list": ["a", "b"],
    "queue": 1,  # a pipeline takes collections apart
    "stack": [2, 1],
    "typed-custom": PSObject(("My.T", *_CUSTOM), extended={"a": 1}),
    "ipaddress": PSObject(
        ("System.Net.IPAddress", "System.Object"),
        "192.0.2.1",
        adapted={
            "AddressFamily": PSObject(("System.Net.Sockets.AddressFamily", *_ENUM), "InterNetwork", 2),
            **dict.fromkeys(("IsIPv6Multicast", "IsIPv6LinkLocal", "IsIPv6SiteLocal", "IsIPv6Teredo"), False),
            **dict.fromkeys(("IsIPv6UniqueLocal", "IsIPv4MappedToIPv6"), False),
            "Address": Int64(16908480),
        },
        extended={"IPAddressToString": "192.0.2.1"},
    ),
    "many": [1, "two", None, {"k": 1}],
}


def _element(line: dict[str, Any]) -> bytes:
    return element(re.sub(r">\s+<", "><", line["clixml"] or ""))


@recorded("clixml-serialize", _WRITTEN, lambda line: f"{line['name']}-{line['depth']}")
def test_a_value_is_written_as_powershell_writes_it(case: dict[str, Any]) -> None:
    raw = _element(case)
    if case["name"] in _MADE:
        assert serialize(_MADE[case["name"]], depth=case["depth"]) == raw
    else:  # as it was cut to that depth already
        assert serialize(deserialize(raw)) == raw


@pytest.mark.parametrize(
    "line", [line for line in _WRITTEN if line["clixml"]], ids=lambda line: f"{line['name']}-{line['depth']}"
)
def test_what_was_written_is_read_and_written_again(line: dict[str, Any]) -> None:
    raw = _element(line)
    written = serialize(deserialize(raw))
    assert serialize(deserialize(written)) == written
    # A script block is read as text; of an object with text and nothing else only the text is kept, and of a list its
    # elements.
    if line["name"] not in ("scriptblock", "fileinfo"):
        assert written == raw


def test_depth_cuts_where_powershell_cuts() -> None:
    by_depth = {line["depth"]: _element(line) for line in _WRITTEN if line["name"] == "fileinfo" and line["clixml"]}
    if not by_depth:
        pytest.skip("the recorded file is not here")
    file = deserialize(by_depth[2])
    # What PowerShell's tables of types add is no note, as it seems to be when it has come over the wire.
    file.adapted["Directory"].extended.clear()
    file.extended["VersionInfo"] = str(file.VersionInfo)
    drives = re.search(rb"Collections\.ObjectModel\.Collection`1\[\[[^<]*", by_depth[2])
    assert drives
    provider = file.PSProvider.adapted
    provider["Drives"] = PSObject((f"System.{drives[0].decode()}", "System.Object"), base=provider["Drives"])
    assert serialize(file, depth=1) == by_depth[1]


# What PowerShell says about CLIXML that it refuses, and what is said here.
_CAUSES = {
    r"The contents of the (\S+) primitive type are not valid": r"that is no {0}\.",
    r"N attribute was expected": r"(has a member without a name|entry that is not a key and a value)",
    r"No object found for referenceId": r"refers to another one that it does not have",
    r"(\w+) XML tag is not recognized": r"unknown here: <{0}>",
    r"Name attribute for dictionary \w+ is incorrectly": r"entry that is not a key and a value",
    r"\w+ for dictionary entry is not specified": r"entry that is not a key and a value",
    r"Null is specified as dictionary key": r"has \$null for a key",
    r"Current Node type is Text": r"text between the elements",
    r"is an invalid XmlNodeType": r"lacks a member",
}


def _cause(message: str) -> str:
    """The pattern of our message, or any, where PowerShell's is a new one."""
    for theirs, ours in _CAUSES.items():
        if found := re.search(theirs, message):
            return ours.format(*map(re.escape, found.groups()))
    return ""


@recorded("clixml-deserialize", lines("deserialize.jsonl"), lambda line: element(line["clixml"]).decode() or "nothing")
def test_clixml_is_read_as_powershell_reads_it(case: dict[str, Any]) -> None:
    document = case["clixml"].encode()
    if "error" in case:
        with pytest.raises(ProtocolError, match=_cause(case["error"]["message"])):
            objects(document)
        return
    values = [value for value in objects(document) if value is not None]  # a pipeline shows no $null
    assert len(values) == len(case["values"])
    for value, shown in zip(values, case["values"], strict=True):
        raw = element(case["clixml"])
        if len(values) > 1:
            raw = serialize(value)
        check_names(raw, shown["type_names"])
        check_text(value, Shown("", raw, shown["type_names"], shown["to_string"], shown["display"], shown["json"]))
        assert to_json(value, 3, compress=True) == shown["json"]
        if isinstance(value, PSObject) and value.base is NO_BASE:
            listed = [f"NoteProperty {name}" for name in value.extended]
            listed += [f"Property {name}" for name in value.properties if name not in value.extended]
            assert listed == [line.rpartition(" ")[0] for line in shown["properties"]]
