"""``pysaslauthctl explain``: one login, and what becomes of it."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pysaslauthd.cli.parameters import config_option, realm_option, service_option
from pysaslauthd.cli.terminal import milliseconds, say
from pysaslauthd.config import load
from pysaslauthd.errors import ConfigError, StartError
from pysaslauthd.inspection.explain import Explanation, explain
from pysaslauthd.inspection.settings import DENIED
from pysaslauthd.model import AuthRequest, Verdict
from pysaslauthd.wire.mux import MAX_REQUEST

EXIT_STATUS = {Verdict.ACCEPTED: 0, Verdict.REJECTED: 1, Verdict.UNAVAILABLE: 2}
"""By what became of the login."""
EXIT_CONFIG = 2
"""Of a configuration that cannot be used: then nobody knows either."""

_COLOURS = {Verdict.ACCEPTED: "green", Verdict.REJECTED: "red", Verdict.UNAVAILABLE: "yellow"}
_ROW = "{:<10} {}"
_STEP = "{:>10}  {}"
_IDENTITY = ("login", "user", "domain", "realm", "service")


def _only_stdin(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value not in (None, "-"):
        raise click.BadParameter("a password here shows in the process list; give - and a line on standard input", ctx)
    return value


@click.command(
    "explain",
    epilog="Exit status: 0 where the login is accepted, 1 where it is rejected, 2 where that could not be found out: "
    "no directory answers, or the configuration cannot be used.",
)
@click.argument("user")
@realm_option
@service_option
@config_option
@click.option(
    "-p", "--password", metavar="-", callback=_only_stdin, help="Take the password from a line on standard input."
)
@click.option("--no-password", is_flag=True, help="Say what would become of the login with the right password.")
@click.option("--append-realm", is_flag=True, help="Decide as a daemon that runs with -r.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    user: str,
    realm: str,
    service: str,
    config: Path,
    password: str | None,
    no_password: bool,
    append_realm: bool,
    as_json: bool,
) -> int:
    """Show what becomes of one login, and why; asks for the password.

    Needs no daemon, and asks no cache. A wrong password counts at the directory as it would from the daemon.
    """
    if password and no_password:
        raise click.UsageError("-p and --no-password exclude each other")
    login, service_name, realm_name = map(os.fsencode, (user, service, realm))
    try:
        loaded = load(str(config.absolute()), denied=DENIED)
        secret = b"" if no_password else _password(password)
        request = AuthRequest(login, secret, service_name, realm_name)
        explanation = asyncio.run(explain(loaded, request, checked=not no_password, append_realm=append_realm))
    except (ConfigError, StartError) as error:
        click.echo(f"pysaslauthctl: {error}", err=True)
        return EXIT_CONFIG
    if as_json:
        click.echo(json.dumps(_object(explanation), indent=2))
    else:
        _show(explanation)
    return EXIT_STATUS[explanation.outcome.verdict]


def _password(given: str | None) -> bytes:
    if given:
        line = sys.stdin.buffer.readline(MAX_REQUEST + 1)
        if len(line) > MAX_REQUEST:
            raise click.UsageError(f"the password is longer than a request can be, {MAX_REQUEST} bytes")
        return line.removesuffix(b"\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password on: give -p - or --no-password")
    return os.fsencode(getpass.getpass())


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _show(told: Explanation) -> None:
    for name, value in _rows(told):
        say(_ROW.format(name, value))
    verdict = told.outcome.verdict
    say(_ROW.format("verdict", _verdict(told)), fg=_COLOURS[verdict], bold=True)
    for note in told.notes:
        say(_ROW.format("note", note), fg="yellow")
    say()
    for took, what in _steps(told):
        say(_STEP.format(milliseconds(took), what))


def _rows(told: Explanation) -> Iterator[tuple[str, str]]:
    identity = told.identity
    yield "login", _text(identity.login)
    yield "user", _text(identity.user)
    yield "domain", f"{_text(identity.domain) or '(none)'}, from {told.domain_from}"
    yield "realm", _text(identity.realm) or "(none)"
    yield "service", _text(identity.service) or "(none)"
    if told.realm_file is not None:
        others = "none for this domain: the main file answers" if told.method else "none for this domain: it is refused"
        yield "realm file", told.realm_file or others
    yield "method", told.method or "(none)"
    searches = {question[1:4]: None for question in told.questions if question.what == "search"}
    for dn, scope, filter_ in searches:
        yield "base", f"{_text(dn)} ({scope})"
        yield "filter", _text(filter_)
    yield "entry", _text(told.entry) or "(none)"
    if told.schemes:
        yield "stored", ", ".join(told.schemes)
    yield "account", told.account or ("(not looked at)" if told.checked else "(only a bind tells)")
    if told.outcome.server:
        yield "server", told.outcome.server
    if told.group is not None:
        yield "group", "a member" if told.group else "no member"


def _verdict(told: Explanation) -> str:
    outcome = told.outcome
    text = f"{outcome.verdict.value}: {outcome.reason.value}"
    if not told.checked and outcome.verdict is Verdict.ACCEPTED:
        text = "accepted, if the password is right"
    return text + (f", {outcome.detail}" if outcome.detail else "")


def _steps(told: Explanation) -> Iterator[tuple[float, str]]:
    connected: set[bool] = set()
    for question in told.questions:
        words = [question.what]
        if question.filter:
            words += [_text(question.filter), "below"]
        if question.dn:
            words.append(_text(question.dn))
        text = f"{' '.join(words)}: {question.answer}"
        # One connection for searches and one for binds, each made when it is first needed.
        binds = question.what == "bind"
        if question.what != "password" and binds not in connected:
            connected.add(binds)
            text += ", connecting included"
        yield question.milliseconds, text
    yield told.milliseconds, "in all"


def _object(told: Explanation) -> dict[str, Any]:
    identity = told.identity
    return {
        "verdict": told.outcome.verdict.value,
        "reason": told.outcome.reason.value,
        "detail": told.outcome.detail,
        "password_checked": told.checked,
        "identity": {name: _text(getattr(identity, name)) for name in _IDENTITY},
        "domain_from": told.domain_from,
        "realm_file": told.realm_file or None,
        "method": told.method,
        "entry": _text(told.entry),
        "server": told.outcome.server,
        "schemes": list(told.schemes),
        "account": told.account,
        "group": told.group,
        "steps": [
            {
                "what": question.what,
                "dn": _text(question.dn),
                "scope": question.scope,
                "filter": _text(question.filter),
                "answer": question.answer,
                "milliseconds": round(question.milliseconds, 3),
            }
            for question in told.questions
        ],
        "notes": list(told.notes),
        "milliseconds": round(told.milliseconds, 3),
    }
