"""Whether a server tells the service account of changes: a watch like the daemon's, begun and ended again."""

from __future__ import annotations

import asyncio

from pysaslauthd.config import LdapSettings, ServerUri
from pysaslauthd.directory.areas import areas_of
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.watcher import Watcher
from pysaslauthd.errors import DirectoryError
from pysaslauthd.inspection.step import Finding, Result

PROBE_SECONDS = 0.1
"""Between two looks at whether the watch has begun."""


async def look(server: ServerUri, settings: LdapSettings, seconds: float) -> Finding:
    """Begin a watch; a warning where the server refuses it, or keeps changes back. Logins go on without one.

    :param seconds: how long it may take to begin.
    """
    areas = areas_of(settings)
    if not areas:
        where = "ldap_search_base or ldap_group_dn hangs on the login altogether"
        return Finding(Result.WARNING, f"{where}: there is no part to watch")
    begun = asyncio.Event()
    watcher = Watcher(
        server, Connector.of(settings, settings.timeout), areas, PROBE_SECONDS, lambda _: None, lambda _: begun.set()
    )
    watching = asyncio.ensure_future(watcher.watch())
    waiting = asyncio.ensure_future(begun.wait())
    try:
        await asyncio.wait([watching, waiting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        late = not begun.is_set()
    except DirectoryError as error:
        text, _, advice = str(error).removeprefix(f"{server.text}: ").partition("; ")
        return Finding(Result.WARNING, f"no change is told: {text}", advice)
    finally:
        watching.cancel()
        waiting.cancel()
        await asyncio.wait([watching, waiting])
    doubts = [doubt.partition("; ") for doubt in watcher.doubts]
    told = f"not begun within {seconds:g} s" if late else f"changes are told, by {watcher.how}"
    detail = "; ".join([told, *(text for text, _, _ in doubts)])
    return Finding(
        Result.WARNING if late or doubts else Result.OK, detail, "; ".join(advice for _, _, advice in doubts)
    )
