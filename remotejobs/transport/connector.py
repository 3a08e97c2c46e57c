"""The way to each target of a job: checked for all of them first, then made for one at a time.

Knows specifications, credentials, TLS and the HTTP transport. Must not know what is said over a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from remotejobs.auth.credentials import Credential
from remotejobs.auth.tokens import Contexts, canonical
from remotejobs.errors import ConfigurationError
from remotejobs.model import IMPLICIT_MECHANISMS, JobSpec, Target
from remotejobs.ports import Transport
from remotejobs.transport.http import HttpTransport, shared_block
from remotejobs.transport.names import Names
from remotejobs.transport.tls import client_context

_KDC_THREADS = 8  # steps of authentication that wait for a KDC, at a time


class Connector:
    """Checks the ways in to targets, then makes a connection to one when it is called.

    Args:
        spec: The job.
        credentials: By name; `""` is for targets that name none.
        targets: Those that will be connected.

    Raises:
        UsageError: A mechanism, a credential or a certificate file that is missing or refused.
    """

    def __init__(self, spec: JobSpec, credentials: Mapping[str, Credential], targets: Iterable[Target]) -> None:
        self._spec, self._credentials = spec, credentials
        self._contexts = Contexts(spec.session_option)
        encrypted = False
        for target in {(t.authentication, t.credential, t.ssl): t for t in targets}.values():
            endpoint = spec.endpoint(target)
            self._contexts.context(self._mechanism(target), self._credential(target), endpoint)
            encrypted = encrypted or endpoint.ssl
        self._tls = client_context(spec.session_option) if encrypted else None
        self._names, self._block = Names(), shared_block()
        self._threads = ThreadPoolExecutor(_KDC_THREADS, "remotejobs-kdc")

    def __call__(self, target: Target) -> Transport:
        """Make an unopened connection."""
        spec, endpoint = self._spec, self._spec.endpoint(target)
        context = self._contexts.context(self._mechanism(target), self._credential(target), endpoint)
        return HttpTransport(
            endpoint,
            context,
            tls=self._tls,
            names=self._names,
            limits=spec.limits,
            # Basic over http has been refused unless it is permitted.
            seals=not endpoint.ssl and not spec.session_option.allow_unencrypted and not context.every_request,
            threads=self._threads,
            block=self._block,
        )

    def close(self) -> None:
        """Drop tickets and hashes; connections that are open stay."""
        self._contexts.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _mechanism(self, target: Target) -> str:
        return target.authentication or self._spec.authentication

    def _credential(self, target: Target) -> Credential | None:
        name = target.credential or self._spec.credential or ""
        # `""` is for targets that name none, whatever the job's own credential was called when it was stored.
        found = self._credentials.get(name) or (None if target.credential else self._credentials.get(""))
        if found is None and (name or canonical(self._mechanism(target)) not in IMPLICIT_MECHANISMS):
            who = f"the credential {name!r}" if name else "a credential"
            raise ConfigurationError(
                f"[{target.name}] needs {who}, and none was given. On the command line: -Credential USER, with "
                "-PasswordFile FILE, REMOTEJOBS_PASSWORD or a terminal to ask on; or [credential.NAME] in the "
                "configuration.",
                error_id="CredentialMissing",
            )
        return found
