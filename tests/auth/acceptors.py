"""The other side of a handshake: pyspnego's own acceptors, without any network."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import spnego

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.tokens import Contexts
from remotejobs.model import Endpoint, SessionOption
from remotejobs.ports import AuthContext, Sealer

USER, PASSWORD = "admin", "Corr3ct-horse"
HTTP = Endpoint("web01", 5985, False, server_name="web01")
HTTPS = Endpoint("web01", 5986, True, server_name="web01")
SCHEMES = {"ntlm": "Negotiate", "negotiate": "Negotiate", "kerberos": "Kerberos", "credssp": "CredSSP"}


def credential(password: str = PASSWORD, username: str = USER) -> Credential:
    return Credential(username, Secret(password))


def one(mechanism: str, who: Credential | None, endpoint: Endpoint = HTTP, **option: Any) -> AuthContext:
    return Contexts(SessionOption(**option)).context(mechanism, who, endpoint)


def accounts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make USER known to the NTLM acceptor."""
    file = folder / "accounts"
    file.write_text(f":{USER}:{PASSWORD}\nCORP:{USER}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(file))


def converse(context: AuthContext, server: Any, protocol: str, binding: bytes | None = None) -> list[str]:
    """Shake hands to the end; return the values of Authorization. What the acceptor raises comes out."""
    scheme, said, steps = SCHEMES[protocol], [], context.steps(binding)
    said.append(next(steps))
    while True:
        name, _, token = said[-1].partition(" ")
        assert name == scheme
        answer = server.step(base64.b64decode(token))
        challenges = [f"{scheme} {base64.b64encode(answer).decode()}"] if answer else []
        try:
            said.append(steps.send(challenges))
        except StopIteration:
            return said


def acceptor(protocol: str, host: str = "web01", binding: bytes | None = None) -> Any:
    bindings = spnego.channel_bindings.GssChannelBindings(application_data=binding) if binding else None
    return spnego.server(protocol=protocol, hostname=host, service="host", channel_bindings=bindings)


def sealer_of(context: AuthContext) -> Sealer:
    sealer = context.sealer()
    assert sealer is not None
    return sealer


def shown_by(error: BaseException) -> Iterator[str]:
    """Everything that a traceback with locals would print of `error`, frames of the tests left out."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        todo += [each.__cause__, each.__context__]
        yield f"{each!r} {each} {getattr(each, 'details', '')!r} {each.args!r}"
        trace: TracebackType | None = each.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_globals["__name__"].startswith("tests."):
                yield repr(trace.tb_frame.f_locals)
            trace = trace.tb_next


def forms(password: str) -> list[str]:
    """A secret as it might be printed."""
    from spnego._ntlm_raw.crypto import ntowfv1

    data, wide, digest = password.encode(), password.encode("utf-16-le"), ntowfv1(password)
    return [
        password,
        wide.decode("latin-1"),
        repr(wide)[2:-1],
        base64.b64encode(data).decode(),
        digest.hex(),
        digest.hex().upper(),
        repr(digest)[2:-1],
    ]
