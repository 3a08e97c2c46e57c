"""Kerberos tickets: one ticket-granting ticket for each credential of a job, in private caches in memory.

Knows krb5 (the `kerberos` extra, imported when a ticket is needed), principals and realms. Must not know hosts or
connections. On Windows there is nothing to do: SSPI keeps its own tickets. Nothing is started, nothing is written.
"""

from __future__ import annotations

import functools
import ipaddress
import sys
from concurrent.futures import Future
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from remotejobs.auth.credentials import Credential
from remotejobs.auth.failures import explain
from remotejobs.errors import AuthenticationError, ConfigurationError, RemoteJobsError

if TYPE_CHECKING:
    import krb5

_RENEW_SECONDS: Final = 600.0  # before its end, or a quarter of its life where that is less


class _Ticket(NamedTuple):
    got: krb5.Creds
    context: krb5.Context  # read only: its clock is the KDC's

    def ending(self) -> bool:
        """True when it is time for another one."""
        import krb5

        times = self.got.times
        left: int = times.endtime - krb5.timeofday(self.context)
        life: int = times.endtime - (times.starttime or times.authtime)
        return left < min(_RENEW_SECONDS, life / 4)


class _Cache(NamedTuple):
    name: str
    context: krb5.Context
    made: krb5.CCache


class Tickets:
    """The tickets of one job. Any number of threads may ask; each credential's ticket is fetched by one of them.

    Args:
        forwardable: Ask for tickets that can be delegated.
    """

    def __init__(self, *, forwardable: bool) -> None:
        self._forwardable = forwardable
        self._held: dict[tuple[Credential, int], Future[_Ticket | RemoteJobsError]] = {}
        self._turn: dict[Credential, int] = {}
        self._caches: dict[tuple[Credential, int, str], _Cache] = {}
        self._realm: str | None = None

    def cache(self, credential: Credential, host: str) -> str:
        """The name of a cache with a ticket of `credential` that is good for a while. May wait for a KDC.

        Each host has one of its own, for the tickets of its services: a cache is searched from its beginning, so that
        in one for all the search for a ticket would take longer with each host.

        A credential that was refused is not tried again: accounts get locked out.

        Args:
            credential: Whose.
            host: Where to.

        Raises:
            AuthenticationError: No ticket; with `details["refused"]` true where the credential is no good.
            UnreachableError: No KDC can be reached.
        """
        while True:
            turn = self._turn.get(credential, 0)
            mine: Future[_Ticket | RemoteJobsError] = Future()
            held = self._held.setdefault((credential, turn), mine)  # atomic: one of all has its own
            if held is mine:
                mine.set_result(self._fetch(credential))
            elif held.done() and self._stale(held.result()):
                self._turn[credential] = turn + 1
                continue
            ticket = held.result()
            if isinstance(ticket, RemoteJobsError):
                # a new one for each: raising one in several threads mixes their tracebacks
                raise type(ticket)(ticket.message, error_id=ticket.error_id, **ticket.details)
            return self._with(ticket, (credential, turn, host))

    def knows(self, username: str) -> bool:
        r"""Whether this computer's own realm (krb5.conf's default_realm) is the user's.

        True for `user@REALM` where REALM is that realm or a child of it, in any case; for `DOMAIN\user` where DOMAIN is
        that realm or its first label. Never for a name alone: that is an account of the host's.
        """
        domain, slash, _ = username.partition("\\")
        _, at, suffix = username.rpartition("@")
        if not (slash or at) or not self.default_realm:
            return False
        realm = self.default_realm.upper()
        if slash:
            return domain.upper() in (realm, realm.partition(".")[0])
        return suffix.upper() == realm or suffix.upper().endswith(f".{realm}")

    def principal(self, username: str) -> str:
        r"""The Kerberos name of a user: realms are in upper case, `DOMAIN\user` is turned around."""
        default = self.default_realm
        domain, slash, name = username.partition("\\")
        if not slash:
            name, at, domain = username.rpartition("@")
            if not at:
                return username
        if domain.upper() in (default.upper(), default.upper().partition(".")[0]):
            return f"{name}@{default}"
        return f"{name}@{domain.upper()}"

    @property
    def default_realm(self) -> str:
        """krb5.conf's default_realm, empty where there is none."""
        if self._realm is None:
            self._realm = _default_realm()
        return self._realm

    def close(self) -> None:
        """Destroy the tickets."""
        caches, self._caches, self._held, self._turn = self._caches, {}, {}, {}
        for cache in caches.values():
            _destroy(cache)

    def _with(self, ticket: _Ticket, key: tuple[Credential, int, str]) -> str:
        """A cache that has this ticket in it."""
        import krb5

        cache = self._caches.get(key)
        if cache is None:
            context = krb5.init_context()
            made = krb5.cc_new_unique(context, b"MEMORY")
            krb5.cc_initialize(context, made, ticket.got.client)
            krb5.cc_store_cred(context, made, ticket.got)
            mine = _Cache(f"MEMORY:{(made.name or b'').decode()}", context, made)
            cache = self._caches.setdefault(key, mine)  # atomic, as above
            if cache is not mine:
                _destroy(mine)
        return cache.name

    def _stale(self, ticket: _Ticket | RemoteJobsError) -> bool:
        if isinstance(ticket, RemoteJobsError):
            return not ticket.details.get("refused")
        return ticket.ending()

    def _fetch(self, credential: Credential) -> _Ticket | RemoteJobsError:
        try:
            return self._get(credential)
        except RemoteJobsError as error:
            return error
        except Exception as error:  # noqa: BLE001 - krb5's exceptions hold frames with keys: none leaves
            return explain(error, "Kerberos", "", credential.username or "the current user")

    def _get(self, credential: Credential) -> _Ticket:
        import krb5

        context = krb5.init_context()
        got = _copied(context, credential.ccache) if credential.ccache else self._first(context, credential)
        return _Ticket(got, context)

    def _first(self, context: krb5.Context, credential: Credential) -> krb5.Creds:
        """Ask the KDC (AS-REQ)."""
        import krb5

        user = krb5.parse_name_flags(context, self.principal(credential.username).encode())
        options = krb5.get_init_creds_opt_alloc(context)
        krb5.get_init_creds_opt_set_canonicalize(options, True)
        krb5.get_init_creds_opt_set_forwardable(options, self._forwardable)
        if credential.keytab:
            keytab = krb5.kt_resolve(context, credential.keytab.encode())
            return krb5.get_init_creds_keytab(context, user, options, keytab=keytab)
        return krb5.get_init_creds_password(
            context, user, options, password=credential.secret.reveal().encode(errors="replace")
        )


@functools.cache
def available() -> bool:
    """Whether this computer can do Kerberos: Windows itself, others with the `kerberos` extra."""
    return sys.platform == "win32" or (find_spec("gssapi") is not None and find_spec("krb5") is not None)


def require(*, implicit: bool = False) -> None:
    """Refuse to go on without Kerberos.

    Args:
        implicit: No credential was given, so the current user's tickets would be used.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    if not available():
        words = (
            "Kerberos needs an extra that is not installed: pip install remotejobs[kerberos] (and, on Linux, the "
            "system's Kerberos library: libkrb5-dev or krb5-devel)."
        )
        if implicit:
            words = (
                f"Without -Credential the current user's Kerberos tickets are used. Give -Credential USER, or: {words}"
            )
        raise ConfigurationError(
            words,
            error_id="ClientKerberosDisabled",
        )


def _destroy(cache: _Cache) -> None:
    import krb5

    krb5.cc_destroy(cache.context, cache.made)


def is_address(host: str) -> bool:
    """Whether a host is named by an IP address, which no domain has a service for."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return False  # as a rule, and a hundred times faster
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _copied(context: krb5.Context, name: str) -> krb5.Creds:
    """The ticket-granting ticket of a cache; renewed where it is about to end and may be."""
    import krb5

    source = krb5.cc_resolve(context, name.encode())
    for each in source:
        if (each.server.name or b"").startswith(b"krbtgt/"):
            left = each.times.endtime - krb5.timeofday(context)
            if left < _RENEW_SECONDS:
                with suppress(krb5.Krb5Error):
                    return krb5.get_renewed_creds(context, each.client, source)
            if left > 0:
                return each
    raise AuthenticationError(
        f"The ticket cache {name} holds no ticket that is still good. Run kinit.",
        error_id="AuthenticationFailed",
        refused=False,
    )


def _default_realm() -> str:
    try:
        import krb5

        return str(krb5.get_default_realm(krb5.init_context()), "utf-8")
    except Exception:  # noqa: BLE001 - no library, no krb5.conf, none in it: no realm
        return ""
