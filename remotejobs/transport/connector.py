"""The way to each target of a job: checked for all of them first, then made for one at a time.

Knows specifications, credentials, TLS and the HTTP transport. Must not know what is said over a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from remotejobs.auth.credentials import Credential
from remotejobs.auth.tokens import Contexts, canonical
from remotejobs.errors import ConfigurationError
from remotejobs.model import IMPLICIT_MECHANISMS, Endpoint, JobSpec, Target
from remotejobs.ports import AuthContext, Transport
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.transport.tls import ClientContext, client_context

_KDC_THREADS = 8  # steps of authentication that wait for a KDC, at a time


class Connector:
    """Checks the ways in to targets, then makes a connection to one when it is called.

    Args:
        spec: The job.
        credentials: By name; `""` is for targets that name none.
        targets: Those that are checked at once; others are checked when they are connected.

    Raises:
        UsageError: A mechanism, a credential or a certificate file that is missing or refused.
    """

    def __init__(self, spec: JobSpec, credentials: Mapping[str, Credential], targets: Iterable[Target]) -> None:
        self._spec, self._credentials = spec, credentials
        self._contexts = Contexts(spec.session_option)
        self._tls: ClientContext | None = None
        for target in {(t.authentication, t.credential, t.ssl): t for t in targets}.values():
            self.context(target)
            self.encryption(spec.endpoint(target))
        self._names, self._block = Names(), shared_block()
        self._threads = ThreadPoolExecutor(_KDC_THREADS, "remotejobs-kdc")

    def __call__(self, target: Target) -> Transport:
        """Make an unopened connection."""
        spec, endpoint, context = self._spec, self._spec.endpoint(target), self.context(target)
        return HttpTransport(
            endpoint,
            context,
            tls=self.encryption(endpoint),
            names=self._names,
            limits=spec.limits,
            # Basic over http has been refused unless it is permitted.
            seals=not endpoint.ssl and not spec.session_option.allow_unencrypted and not context.every_request,
            threads=self._threads,
            block=self._block,
        )

    def context(self, target: Target) -> AuthContext:
        """Make a context for one logon to a target: all of them share tickets and hashes."""
        return self._contexts.context(self.mechanism(target), self.credential(target), self._spec.endpoint(target))

    def user(self, target: Target) -> str:
        """The user name that a target is given; empty where it is the current user's."""
        found = self._found(target)
        return found.username if found else ""

    def encryption(self, endpoint: Endpoint) -> ClientContext | None:
        """The TLS context of the job; None for http.

        Raises:
            ConfigurationError: A certificate file that cannot be used.
        """
        if endpoint.ssl and self._tls is None:
            self._tls = client_context(self._spec.session_option)
        return self._tls if endpoint.ssl else None

    def close(self) -> None:
        """Drop tickets and hashes; connections that are open stay."""
        self._contexts.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def mechanism(self, target: Target) -> str:
        """The mechanism that a target is given, as it was written."""
        return target.authentication or self._spec.authentication

    def _name(self, target: Target) -> str:
        return target.credential or self._spec.credential or ""

    def _found(self, target: Target) -> Credential | None:
        # `""` is for targets that name none, whatever the job's own credential was called when it was stored.
        usual = None if target.credential else self._credentials.get("")
        return self._credentials.get(self._name(target)) or usual

    def credential(self, target: Target) -> Credential | None:
        """The credential that a target is given; None is the current user.

        Raises:
            ConfigurationError: It needs one, and there is none.
        """
        name, found = self._name(target), self._found(target)
        if found is None and (name or canonical(self.mechanism(target)) not in IMPLICIT_MECHANISMS):
            who = f"the credential {name!r}" if name else "a credential"
            raise ConfigurationError(
                f"[{target.name}] needs {who}, and none was given. On the command line: -Credential USER, with "
                "-PasswordFile FILE, REMOTEJOBS_PASSWORD or a terminal to ask on; or [credential.NAME] in the "
                "configuration.",
                error_id="CredentialMissing",
            )
        return found
