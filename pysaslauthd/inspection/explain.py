"""What becomes of one login, and why: decided by the daemon's own parts, looked over the shoulder."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

from pysaslauthd.auth import Authenticator
from pysaslauthd.config import AuthMethod, LdapSettings, Loaded
from pysaslauthd.directory.interface import Directory
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.flow import future
from pysaslauthd.inspection.observe import AnyPassword, ObservedDirectory, Question, scheme_of
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.mechanisms.realms import Nobody
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict, identify, refused_unasked

_ACCOUNT = frozenset(
    {
        Reason.LOCKED,
        Reason.TOO_MANY_TRIES,
        Reason.EXPIRED,
        Reason.MUST_CHANGE,
        Reason.NOT_YET_VALID,
        Reason.INACTIVE,
    }
)


class Explanation(NamedTuple):
    """A decided login. Holds no password, and no stored one.

    ``domain_from`` says where the identity's domain came from. ``realm_file`` is the realm's file that answers: empty
    where that is none, None where there are no realms. ``method`` is empty where nobody answers for the realm.
    ``schemes`` are those of the stored passwords, as found. ``account`` and ``group`` are None where the login did not
    get so far, or the configuration does not ask. ``checked`` tells whether there was a password. ``notes`` are what
    the daemon would have logged meanwhile.
    """

    identity: Identity
    domain_from: str
    realm_file: str | None
    method: str
    entry: bytes
    account: str | None
    schemes: tuple[str, ...]
    group: bool | None
    checked: bool
    outcome: Outcome
    questions: tuple[Question, ...]
    milliseconds: float
    notes: tuple[str, ...]


async def explain(
    loaded: Loaded, request: AuthRequest, *, checked: bool = True, append_realm: bool = False
) -> Explanation:
    """Decide a login as the daemon would, without its cache.

    :param checked: False: the request has no password, and is decided as if it had the right one.
    :param append_realm: the daemon's ``-r``.
    :raises ConfigError: a part refuses its settings.
    :raises StartError: an LDIF file cannot be read.
    """
    if not checked:
        request = request._replace(password=secrets.token_hex().encode())
    default_realm = loaded.settings.default_realm.encode()
    identity = identify(request, default_realm=default_realm, append_realm=append_realm)
    settings = loaded.of(identity.domain)
    if settings is None:
        return await _refused(loaded, request, identity, checked=checked)
    notes = _Notes()
    logger = logging.getLogger("pysaslauthd")
    logger.addHandler(notes)
    threads = ThreadPoolExecutor(1, "hash")
    try:
        own = _directory(settings, loaded.daemon.login_deadline, threads)
        observed = ObservedDirectory(own)
        directory: Directory = observed
        if not checked:
            directory = AnyPassword(observed, settings.password_attr, request.password, settings.hash_limit)
        reported: list[float] = []
        authenticator = Authenticator(
            LdapMechanism(settings, directory, threads),
            lambda _, __, ___, seconds: reported.append(seconds),
            default_realm=default_realm,
            append_realm=append_realm,
            deadline=loaded.daemon.login_deadline,
        )
        try:
            outcome = await authenticator.decide(request)
            decided, questions = time.perf_counter(), observed.questions
        finally:
            await own.stop()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        logger.removeHandler(notes)
    (seconds,) = reported
    user = observed.user
    stored = user.attributes.get(settings.password_attr.lower(), []) if user is not None else []
    schemes = tuple(scheme_of(value, settings.hash_limit)[0] for value in stored)
    if checked and schemes:
        questions = _with_comparison(questions, observed.found_by, schemes, decided)
    return Explanation(
        identity=identity,
        domain_from=_domain_from(request, identity),
        realm_file=_realm_file(loaded, identity),
        method=settings.auth_method.value,
        entry=outcome.dn or (user.dn if user is not None else b""),
        account=_account(outcome, settings, checked=checked),
        schemes=schemes,
        group=_group(outcome, settings),
        checked=checked,
        outcome=outcome,
        questions=questions,
        milliseconds=seconds * 1000,
        notes=tuple(notes.lines),
    )


async def _refused(loaded: Loaded, request: AuthRequest, identity: Identity, *, checked: bool) -> Explanation:
    """What becomes of a login whose realm nobody answers for."""
    unasked = refused_unasked(request, identity)
    outcome = Outcome(unasked) if unasked else await future(Nobody().check(identity, request.password))
    return Explanation(
        identity=identity,
        domain_from=_domain_from(request, identity),
        realm_file=_realm_file(loaded, identity),
        method="",
        entry=b"",
        account=None,
        schemes=(),
        group=None,
        checked=checked,
        outcome=outcome,
        questions=(),
        milliseconds=0.0,
        notes=(),
    )


def _realm_file(loaded: Loaded, identity: Identity) -> str | None:
    if not loaded.daemon.realm_config:
        return None
    realm = loaded.realms.get(identity.domain.lower())
    return "" if realm is None else realm.file


def _directory(settings: LdapSettings, deadline: float, threads: Executor) -> Servers | LdifDirectory:
    if settings.embedded:
        return LdifDirectory(settings.servers[0].path, threads, hash_limit=settings.hash_limit)
    return Servers(settings, deadline=deadline)


def _domain_from(request: AuthRequest, identity: Identity) -> str:
    if identity.login != request.login:
        return "the realm, which -r appends to the login"
    if b"@" in request.login:
        return "the login, after its last @"
    if request.realm:
        return "the realm, as the login has no @"
    if identity.realm:
        return "ldap_default_realm, as the login has no @"
    return "nowhere: the login has no @, there is no realm, and no ldap_default_realm"


def _with_comparison(
    questions: Sequence[Question], found_by: int, schemes: Sequence[str], decided: float
) -> tuple[Question, ...]:
    """The questions, and among them what passed between the answer with the stored passwords and whatever came next."""
    before, after = questions[: found_by + 1], questions[found_by + 1 :]
    comparison = Question(
        what="password",
        dn=b"",
        scope="",
        filter=b"",
        answer=f"compared with {', '.join(schemes)}",
        began=before[-1].ended,
        ended=after[0].began if after else decided,
    )
    return (*before, comparison, *after)


def _account(outcome: Outcome, settings: LdapSettings, *, checked: bool) -> str | None:
    if outcome.reason in _ACCOUNT:
        return outcome.reason.value
    if outcome.verdict is Verdict.ACCEPTED or outcome.reason is Reason.NOT_IN_GROUP:
        return "usable" if checked or settings.auth_method is AuthMethod.CUSTOM else None
    return None


def _group(outcome: Outcome, settings: LdapSettings) -> bool | None:
    if not settings.checks_group or (
        outcome.verdict is not Verdict.ACCEPTED and outcome.reason is not Reason.NOT_IN_GROUP
    ):
        return None
    return outcome.verdict is Verdict.ACCEPTED


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
