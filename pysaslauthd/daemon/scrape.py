"""The metrics of the whole daemon, served where ``--metrics`` says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

from pysaslauthd import __version__, log
from pysaslauthd.config.endpoint import Endpoint
from pysaslauthd.daemon.doors import Doors
from pysaslauthd.daemon.generation import Current
from pysaslauthd.errors import StartError
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import Door

if TYPE_CHECKING:
    from pysaslauthd.server.exposition import Readings
    from pysaslauthd.server.metrics import MetricsServer


def scrape_server(endpoint: Endpoint, metrics: Metrics, current: Current, doors: Doors) -> MetricsServer:
    """The server, its socket made.

    :raises StartError: the socket cannot be had, or the libraries are not there.
    """
    try:
        # Only who wants them installs them, and waits for them: 50 ms.
        from pysaslauthd.server import exposition  # noqa: PLC0415 - an extra, see above
        from pysaslauthd.server import metrics as server  # noqa: PLC0415 - an extra, see above
    except ModuleNotFoundError as error:
        raise StartError(
            f"--metrics: the module {error.name} is not installed: pip install 'pysaslauthd[metrics]'"
        ) from error

    def read() -> Readings:
        generation = current.generation
        cache, authenticator, directories = generation.cache, generation.authenticator, generation.directories
        connections: Counter[Door] = Counter(dict.fromkeys(get_args(Door), 0))
        for state in doors.states():
            connections[state.door] += state.open
        return exposition.Readings(
            version=__version__,
            cache=None if cache is None else exposition.CacheState(len(cache), cache.most),
            in_flight=authenticator.pending,
            held_back=authenticator.held_back,
            delayed=authenticator.delayed,
            stale=authenticator.stale,
            servers=directories.states(),
            failovers=directories.failovers,
            watches=generation.watches.states(),
            connections=connections,
            faults=doors.faults(),
            lines_lost=log.lost(),
        )

    return server.MetricsServer(exposition.Exposition(metrics, read), server.bind(endpoint))
