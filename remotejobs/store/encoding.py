"""Specifications, targets and outcomes as JSON text, for a file that other versions read.

Knows the values of model and CLIXML. Must not know SQLite. What has its default is left out; what a later version
wrote and this one does not know is passed over. Nothing here is secret: a credential is a name, and so is a secret
argument; one that is not is refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from remotejobs.model import (
    Clocks,
    CmdCommand,
    Command,
    HostInfo,
    InvocationSettings,
    JobSpec,
    Limits,
    Outcome,
    PipelineCommand,
    RemoteStreamOptions,
    ScriptCommand,
    SessionOption,
    Stream,
    Target,
)
from remotejobs.states import EndReason

_T = TypeVar("_T")
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def encode_spec(spec: JobSpec) -> str:
    """Write a specification.

    Raises:
        UsageError: An argument that CLIXML cannot carry, or a secret that is not just named.
    """
    fields = _changed(spec, skip=("command", "targets", "session_option", "clocks", "limits", "invocation_settings"))
    fields["command"] = _encode_command(spec.command)
    fields["targets"] = [encode_target(target) for target in spec.targets]
    for name in ("session_option", "clocks", "limits"):
        if inner := _changed(getattr(spec, name)):
            fields[name] = inner
    if settings := _encode_settings(spec.invocation_settings):
        fields["invocation_settings"] = settings
    return _safe(fields)


def decode_spec(text: str) -> JobSpec:
    """Read a specification."""
    fields = json.loads(text)
    command = fields.pop("command")
    targets = tuple(map(decode_target, fields.pop("targets")))
    parts = {
        "session_option": _made(SessionOption, fields.pop("session_option", {})),
        "clocks": _made(Clocks, fields.pop("clocks", {})),
        "limits": _made(Limits, fields.pop("limits", {})),
        "invocation_settings": _decode_settings(fields.pop("invocation_settings", {})),
    }
    script = _decode_command(command)
    fields["session_names"] = tuple(fields.get("session_names", ()))
    return _made(JobSpec, {**fields, **parts, "command": script, "targets": targets})


def _encode_command(command: Command) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": command.text}
    if isinstance(command, CmdCommand):
        fields |= {"shell": "cmd", "code_page": command.code_page}
    else:
        fields["arguments"] = _clixml(command.arguments)
        for name in ("parameters", "using", "answers"):
            if pairs := getattr(command, name):
                fields[name] = _encode_pairs(pairs)
        if command.commands:
            fields["commands"] = [
                {**_changed(one, skip=("arguments",)), "arguments": _encode_pairs(one.arguments)}
                for one in command.commands
            ]
    if command.input is not None:
        fields["input"] = _clixml(command.input)
    if command.streamed:
        fields["streamed"] = True
    return fields


def _decode_command(fields: Mapping[str, Any]) -> Command:
    kept = fields.get("input")
    given, streamed = None if kept is None else _values(kept), bool(fields.get("streamed"))
    if fields.get("shell") == "cmd":
        return CmdCommand(fields["text"], fields["code_page"], given, streamed)
    return ScriptCommand(
        fields["text"],
        _values(fields["arguments"]),
        _decode_pairs(fields.get("parameters", ())),
        _decode_pairs(fields.get("using", ())),
        given,
        streamed,
        _decode_pairs(fields.get("answers", ())),
        tuple(map(_decode_pipeline_command, fields.get("commands", ()))),
    )


def _decode_pipeline_command(fields: Mapping[str, Any]) -> PipelineCommand:
    more = {"arguments": _decode_pairs(fields["arguments"]), "merged": tuple(map(Stream, fields.get("merged", ())))}
    return _made(PipelineCommand, {**fields, **more})


def _encode_settings(settings: InvocationSettings) -> dict[str, Any]:
    fields = _changed(settings, skip=("host", "application_arguments"))
    if settings.host != InvocationSettings().host:
        fields["host"] = settings.host and _changed(settings.host)
    if settings.application_arguments is not None:
        (fields["application_arguments"],) = _clixml([dict(settings.application_arguments)])
    return fields


def _decode_settings(fields: dict[str, Any]) -> InvocationSettings:
    if host := fields.get("host"):
        fields["host"] = _made(HostInfo, {name: tuple(v) if isinstance(v, list) else v for name, v in host.items()})
    if given := fields.get("application_arguments"):
        (fields["application_arguments"],) = _values([given])
    fields["remote_stream_options"] = RemoteStreamOptions(fields.get("remote_stream_options", 0))
    return _made(InvocationSettings, fields)


def encode_target(target: Target) -> Any:
    """Write a target as what JSON can hold: nearly all are just a name."""
    fields = _changed(target)
    return target.name if len(fields) == 1 else fields


def decode_target(value: Any) -> Target:
    """Read a target."""
    if isinstance(value, str):
        return Target(value)
    return _made(Target, {**value, "group": tuple(value.get("group", ()))})


def encode_outcome(outcome: Outcome) -> str:
    """Write an outcome, but for its failure record, which is kept as it came."""
    fields = _changed(outcome, skip=("failure", "details"))
    if outcome.details:
        fields["details"] = dict(outcome.details)
    return _safe(fields)


def decode_outcome(text: str, failure: bytes | None) -> Outcome:
    """Read an outcome."""
    fields = json.loads(text)
    try:
        fields["reason"] = EndReason(fields["reason"])
    except ValueError:
        fields["reason"] = EndReason.Unknown  # of a later version; its message says more
    return _made(Outcome, {**fields, "failure": failure})


def _changed(value: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    found = {}
    for name, default in _defaults(type(value)).items():
        if name not in skip:
            held = getattr(value, name)
            if held != default:
                found[name] = held
    return found


def _defaults(kind: type) -> dict[str, Any]:
    cached = _DEFAULTS.get(kind)
    if cached is None:
        cached = _DEFAULTS[kind] = {field.name: field.default for field in dataclasses.fields(kind)}
    return cached


_DEFAULTS: dict[type, dict[str, Any]] = {}


def _made(kind: type[_T], fields: Mapping[str, Any]) -> _T:
    known = _defaults(kind)
    return kind(**{name: value for name, value in fields.items() if name in known})


def _safe(fields: dict[str, Any]) -> str:
    """JSON; half a surrogate pair, which SQLite's UTF-8 cannot hold, is escaped."""
    text = _dump(fields)
    if text.isascii():
        return text
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def _encode_pairs(pairs: Sequence[tuple[str | None, Any]]) -> list[Any]:
    return [[pair[0], text] for pair, text in zip(pairs, _clixml([pair[1] for pair in pairs]), strict=True)]


def _decode_pairs(found: Sequence[Any]) -> tuple[tuple[Any, Any], ...]:
    return tuple(zip((key for key, _ in found), _values([text for _, text in found]), strict=True))


def _clixml(arguments: Sequence[Any]) -> list[str]:
    if not arguments:
        return []
    from remotejobs.wsman.clixml.write import serialize  # lxml is not needed to list jobs
    from remotejobs.wsman.psrp.sessionkey import secret_names

    written = [serialize(argument) for argument in arguments]
    for each in written:
        secret_names(each)
    return [each.decode() for each in written]


def _values(texts: list[str]) -> tuple[Any, ...]:
    if not texts:
        return ()
    from remotejobs.wsman.clixml.read import deserialize

    return tuple(cast("Any", deserialize(text.encode())) for text in texts)
