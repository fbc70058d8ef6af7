"""A configuration, walked step by step: the files, the socket, then each server as a login would go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pysaslauthd.config import LdapSettings, ServerUri
from pysaslauthd.directory import ldif_file
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.roster import LOOKUP_SECONDS
from pysaslauthd.directory.srv import Lookup
from pysaslauthd.errors import ConfigError, StartError
from pysaslauthd.inspection import server
from pysaslauthd.inspection.questions import Questions
from pysaslauthd.inspection.settings import DENIED, configuration, socket
from pysaslauthd.inspection.step import Finding, Result, Stage, Step, take


async def check(config: Path, run_dir: Path) -> AsyncIterator[Step]:
    """Every step, as it is taken. A server that fails does not keep the next from being looked at.

    :param config: the configuration file.
    :param run_dir: the folder of the mux socket.
    """
    loaded, steps = configuration(str(config))
    for step in steps:
        yield step
    yield socket(run_dir)
    if loaded is None:
        yield Step(str(config), "servers", Result.SKIPPED, "the configuration cannot be used")
        return
    for realm, settings in loaded.parts():
        async for step in _walk(settings, loaded.daemon.login_deadline):
            yield step._replace(subject=f"{realm}: {step.subject}") if realm else step


async def _walk(settings: LdapSettings, deadline: float) -> AsyncIterator[Step]:
    """The steps to the servers of one part of the configuration."""
    if settings.embedded:
        async for step in _file(settings, deadline):
            yield step
        return
    for each in settings.servers:
        servers = [each]
        if each.domain:
            servers = []
            look_up = partial(_look_up, each, servers)
            async for step in take(each.text, [Stage("DNS", look_up, deadline, advice="mend the records in DNS")]):
                yield step
        for one in servers:
            async for step in server.walk(one, settings, deadline):
                yield step


async def _look_up(uri: ServerUri, servers: list[ServerUri]) -> Finding:
    """Add the servers of a domain."""
    try:
        lookup = Lookup(uri)
    except ConfigError as error:
        return Finding(Result.ERROR, error.reason)
    servers += (await lookup.servers(LOOKUP_SECONDS)).servers
    return Finding(Result.OK, f"{lookup.name}: {', '.join(server.text for server in servers)}")


async def _file(settings: LdapSettings, deadline: float) -> AsyncIterator[Step]:
    """The steps of an LDIF file."""
    uri = settings.servers[0]

    async def read() -> Finding:
        try:
            reading = ldif_file.read(uri.path)
        except ConfigError as error:
            return Finding(Result.ERROR, str(error), "mend the file")
        except OSError as error:
            advice = DENIED if isinstance(error, PermissionError) else "create it, or mend ldap_servers"
            return Finding(Result.ERROR, error.strerror or str(error), advice)
        text = f"{len(reading.content.entries)} entries"
        if reading.exposed:
            return Finding(Result.WARNING, f"{text}, with passwords that everybody can read", f"chmod o-r {uri.path}")
        return Finding(Result.OK, text)

    readable = False
    async for step in take(uri.text, [Stage("file", read, deadline)]):
        readable = step.result is not Result.ERROR
        yield step
    if not readable:
        return
    with ThreadPoolExecutor(1) as threads:
        try:
            directory = LdifDirectory(uri.path, threads)
        except (ConfigError, StartError) as error:  # it has changed since
            yield Step(uri.text, "file", Result.ERROR, str(error))
            return
        async for step in take(uri.text, Questions(settings, directory).stages(deadline)):
            yield step
