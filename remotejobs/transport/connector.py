"""The way to each target of a job: checked for all of them first, then made for one at a time.

Knows specifications, credentials, TLS and the HTTP transport. Must not know what is said over a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from remotejobs.auth import tokens
from remotejobs.auth.credentials import Credential
from remotejobs.errors import ConfigurationError
from remotejobs.model import JobSpec, Target
from remotejobs.ports import Transport
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.transport.tls import client_context


def connector(
    spec: JobSpec, credentials: Mapping[str, Credential], targets: Iterable[Target]
) -> Callable[[Target], Transport]:
    """Check the ways in to `targets`, then return what makes a connection to one.

    Raises:
        UsageError: A mechanism, a credential or a certificate file that is missing or refused.
    """
    encrypted = False
    for target in {(t.authentication, t.credential, t.ssl): t for t in targets}.values():
        mechanism, endpoint = target.authentication or spec.authentication, spec.endpoint(target)
        tokens.refuse_clear_text(mechanism, endpoint, spec.session_option.allow_unencrypted)
        tokens.context(mechanism, _credential(spec, target, credentials))
        encrypted = encrypted or endpoint.ssl
    tls = client_context(spec.session_option) if encrypted else None
    names, limits, block = Names(), spec.limits, shared_block()

    def connect(target: Target) -> Transport:
        endpoint = spec.endpoint(target)
        context = tokens.context(target.authentication or spec.authentication, _credential(spec, target, credentials))
        return HttpTransport(endpoint, context, tls=tls, names=names, limits=limits, block=block)

    return connect


def _credential(spec: JobSpec, target: Target, credentials: Mapping[str, Credential]) -> Credential:
    name = target.credential or spec.credential or ""
    # `""` is for targets that name none, whatever the job's own credential was called when it was stored.
    found = credentials.get(name) or (None if target.credential else credentials.get(""))
    if found is None:
        who = f"the credential {name!r}" if name else "a credential"
        raise ConfigurationError(
            f"[{target.name}] needs {who}, and none was given. On the command line: -Credential USER, with "
            "-PasswordFile FILE, REMOTEJOBS_PASSWORD or a terminal to ask on.",
            error_id="CredentialMissing",
        )
    return found
