"""How the cost of a login grows: with people, with requests in flight, with the cache."""

from __future__ import annotations

from bench import peers
from bench.peers import Setting
from bench.stages import Point, point
from bench.tools import Tools
from rig import Daemon, Slapd

IN_FLIGHT = (1, 4, 16, 64, 256, 1024)
CACHE_KILOBYTES = (16, 64, 256, 1024)


def sweeps(tools: Tools, server: Slapd, seconds: float) -> dict[str, list[Point]]:
    """Title to points; ``seconds`` for each point. The daemon asks by custom."""
    uri = f"{server.uri}/"
    people = [count for count in (50, 500, 5000, 50_000) if count <= tools.people]
    with peers.ours(Setting("custom", False, uri)) as (peer, _):
        by_people = [point(tools, peer, count, people=count, seconds=seconds) for count in people]
        by_load = [point(tools, peer, count, in_flight=count, seconds=seconds) for count in IN_FLIGHT]
    with peers.ours(Setting("custom", True, uri)) as (peer, _):
        tools.load(peer.protocol, peer.socket, in_flight=16, logins=tools.people, wrong=0)
        by_load_cached = [point(tools, peer, count, in_flight=count, seconds=seconds) for count in IN_FLIGHT]
    by_cache = []
    for kilobytes in CACHE_KILOBYTES:
        conf = peers.conf(Setting("custom", True, uri))
        with Daemon.running(conf, "-c", "-s", str(kilobytes)) as daemon:
            peer = peers.Peer(peers.OURS, "mux", daemon.mux, daemon.program.pid)
            tools.load(peer.protocol, peer.socket, in_flight=16, logins=tools.people, wrong=0)
            by_cache.append(point(tools, peer, kilobytes, seconds=seconds))
    return {
        "people who log in, not cached, 16 in flight": by_people,
        "logins in flight, not cached": by_load,
        "logins in flight, cached": by_load_cached,
        f"kB of cache (-s), {tools.people:,} people in turn, 16 in flight": by_cache,
    }
