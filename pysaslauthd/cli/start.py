"""The start of the daemon: its log, its configuration, its life in the foreground or the background."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable

from pysaslauthd import log, privileges
from pysaslauthd.config import DaemonSettings, Loaded, load
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon import serve
from pysaslauthd.detach import in_background, make_run_dir, pid_file
from pysaslauthd.errors import ConfigError, StartError

EXIT_START = 1
"""Of a daemon that cannot start here and now; saslauthd's too."""
EXIT_CONFIG = 2
"""Of a configuration that cannot be used: to start it again does not help (RestartPreventExitStatus= in the unit)."""

logger = logging.getLogger(__name__)


def start(options: DaemonOptions, remarks: tuple[str, ...] = ()) -> int:
    """Start the daemon as the options say; the exit status of the start, or in the foreground of the daemon.

    :param remarks: lines to log first.
    """
    # One that comes before the daemon can reload waits until it can, where its default would be to kill.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    attached = options.foreground or "NOTIFY_SOCKET" in os.environ or "LISTEN_FDS" in os.environ
    terminal = log.attached(os.environ, options.log_format)
    handlers = [terminal] if attached else [terminal, log.SyslogHandler(form=options.log_format)]
    log.setup(handlers, verbose=options.verbose)

    def run() -> int:
        for remark in remarks:
            logger.info("%s", remark)
        loaded = load(str(options.config))
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        _make_run_dir(options, loaded.daemon)
        if attached:
            return _hold_and_serve(options, loaded, lambda: None)
        return in_background(functools.partial(_serve_detached, options, loaded, terminal))

    return _status(run)


def _make_run_dir(options: DaemonOptions, own: DaemonSettings) -> None:
    if own.user and os.geteuid() == 0:
        account = privileges.account(own.user, own.group)
        make_run_dir(options.run_dir, owner=account.uid, group=account.gid)
    else:
        make_run_dir(options.run_dir)


def _serve_detached(
    options: DaemonOptions, loaded: Loaded, terminal: logging.Handler, ready: Callable[[], None]
) -> int:
    def leave_terminal() -> None:
        ready()
        logging.getLogger().removeHandler(terminal)

    return _status(lambda: _hold_and_serve(options, loaded, leave_terminal))


def _hold_and_serve(options: DaemonOptions, loaded: Loaded, ready: Callable[[], None]) -> int:
    with pid_file(options.pid_path):
        serve(options, loaded, ready=ready)
    return 0


def _status(run: Callable[[], int]) -> int:
    """What ``run`` returns, or the exit status for what it raises, which is logged."""
    try:
        return run()
    except ConfigError as error:
        logger.error("%s", error)  # noqa: TRY400 - it is no fault of the program, and needs no traceback
        return EXIT_CONFIG
    except StartError as error:
        logger.error("%s", error)  # noqa: TRY400 - as above
    except Exception:  # in the background nobody would see its traceback on standard error
        logger.exception("internal error")
    return EXIT_START
