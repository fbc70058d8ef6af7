"""``pysaslauthctl status``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pysaslauthd.cli.client import ask, daemon_option
from pysaslauthd.cli.terminal import echo

WATCH_SECONDS = 1.0
"""Between two looks."""

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_MARKS = {True: ("up", "green"), False: ("down", "red"), None: ("untried", "yellow")}


@click.command("status")
@daemon_option
@click.option("-w", "--watch", is_flag=True, help="Look every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's reply as it is, a JSON object on a line.")
def command(*, run_dir: Path, watch: bool, as_json: bool) -> None:
    """Show how the daemon is: logins, cache, directory, sockets.

    "now" are the last 10 seconds.
    """
    if not watch:
        echo(_shown(ask(run_dir, "status"), as_json=as_json))
        return
    while True:
        try:
            text = _shown(ask(run_dir, "status"), as_json=as_json)
        except click.ClickException as error:  # it may be back at the next look
            text = json.dumps({"error": error.message}) if as_json else error.message
        if not as_json:
            click.clear()
        echo(text)
        time.sleep(WATCH_SECONDS)


def _shown(status: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(status)
    parts = [
        _daemon(status),
        _logins(status),
        _cache(status),
        _directory(status),
        _watch(status),
        _doors(status),
        _delayed(status),
    ]
    return "\n".join(line for part in parts for line in part)


def _daemon(status: Mapping[str, Any]) -> Iterator[str]:
    up, configuration = status["uptime_seconds"], status["configuration"]
    yield click.style(f"pysaslauthd {status['version']}", bold=True) + f"  pid {status['pid']}, up {span(up)}"
    loaded = f"{configuration['file']}, loaded {span(configuration['loaded_seconds_ago'])} ago"
    yield _line("configuration", loaded)
    if configuration["error"]:
        yield _line("", click.style(f"the last reload failed: {configuration['error']}", fg="red"))
    yield _line("log level", status["log_level"])


def _logins(status: Mapping[str, Any]) -> Iterator[str]:
    logins = status["logins"]
    counts = ", ".join(f"{logins[verdict]:,} {verdict}" for verdict in ("accepted", "rejected", "unavailable"))
    yield _line("logins", counts)
    now = f"now {logins['per_second']:,.1f} per second"
    if logins["median_ms"] is not None:
        now += f", half within {logins['median_ms']:.1f} ms, 99 % within {logins['p99_ms']:.1f} ms"
    yield _line("", f"{now}, {logins['pending']:,} under way")
    for reason, count in logins["reasons"].items():
        if reason != "ok":
            yield _line("", f"{count:,} {reason}")


def _cache(status: Mapping[str, Any]) -> Iterator[str]:
    cache = status["cache"]
    if cache is None:
        yield _line("cache", "none")
        return
    rate = "" if cache["hit_rate"] is None else f", answered {cache['hit_rate']:.1%} of the logins"
    yield _line("cache", f"{cache['entries']:,} of {cache['max_entries']:,} entries{rate}")


def _directory(status: Mapping[str, Any]) -> Iterator[str]:
    servers = status["directory"]
    if not servers:
        yield _line("directory", "none: no realm has one")
        return
    named = [f"{server['realm']} {server['server']}".lstrip() for server in servers]
    width = max(map(len, named))
    label = "directory"
    for name, server in zip(named, servers, strict=True):
        mark, colour = _MARKS[server["up"]]
        text = f"{click.style(f'{mark:7}', fg=colour)}  {name:{width}}"
        if server["up"] is not None:
            text += f"  for {span(server['seconds'])}"
        if server["connections"]:
            text += f", connections {server['connections']}, requests in flight {server['in_flight']}"
        yield _line(label, text)
        if server["error"]:
            yield _line("", f"{'' if server['up'] is False else 'earlier':7}  {server['error']}")
        label = ""


def _watch(status: Mapping[str, Any]) -> Iterator[str]:
    label = "watch"
    for realm in status["watch"]:
        if not realm["servers"]:
            yield _line(label, click.style("none   ", fg="red") + f"  {realm['realm']}")
            label = ""
        for server in realm["servers"]:
            mark, colour = ("told", "green") if server["watching"] else ("untold", "red")
            name = f"{realm['realm']} {server['server']}".lstrip()
            text = f"{click.style(f'{mark:7}', fg=colour)}  {name}  for {span(server['seconds'])}"
            if server["watching"]:
                text += f", by {server['how']}, changes {server['changes']:,}"
            yield _line(label, text)
            if server["error"]:
                yield _line("", f"{'':7}  {server['error']}")
            label = ""


def _doors(status: Mapping[str, Any]) -> Iterator[str]:
    doors = status["doors"]
    width = max(len(door["path"]) for door in doors)
    label = "sockets"
    for door in doors:
        yield _line(label, f"{door['door']:7}  {door['path']:{width}}  connections {door['open']:,}")
        label = ""


def _delayed(status: Mapping[str, Any]) -> Iterator[str]:
    delayed = status["delayed"]
    label = "delayed"
    for kind in ("users", "addresses"):
        named, count = delayed[f"named_{kind}"], delayed[kind]
        if count:
            more = f" and {count - len(named):,} more" if count > len(named) else ""
            yield _line(label, f"{kind}: {', '.join(named)}{more}")
            label = ""
    if delayed["now"]:
        yield _line(label, f"{delayed['now']:,} answers are held back now")


def _line(label: str, text: str) -> str:
    return f"{label:13}  {text}".rstrip()


def span(seconds: float) -> str:
    """A time in its two largest units, as in ``3 d 4 h``."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
