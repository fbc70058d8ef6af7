from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.watch_state import RealmWatch, WatchState
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import Outcome, Reason
from pysaslauthd.server.exposition import KEEP_SECONDS, CacheState, Exposition, Readings

READINGS = Readings(
    version="1.2.3",
    cache=CacheState(entries=7, most=100),
    in_flight=3,
    held_back=2,
    delayed=20,
    stale=4,
    servers=[
        ServerState("ldap://ds1/", up=True, seconds=5.0, connections=4, in_flight=2, failures=1),
        ServerState("ldap://ds2/", up=False, seconds=5.0, error="down", failures=9),
        ServerState("ldap://ds3/", up=None, seconds=5.0),
    ],
    failovers=6,
    watches=[
        RealmWatch(
            "", covered=True, servers=[WatchState("ldap://ds1/", True, "persistent search", 5.0, changes=12, losses=3)]
        ),
        RealmWatch("b.cxm", covered=False, servers=[WatchState("ldap://ds1/", False, "", 5.0)]),
    ],
    connections={"mux": 5, "dovecot": 1},
    faults={("mux", "malformed"): 8, ("dovecot", "full"): 0},
    lines_lost=11,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def samples(text: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Value by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name}{labels} is there twice"
            found[sample.name][labels] = sample.value
    return found


def exposed(metrics: Metrics, readings: Readings = READINGS) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return samples(Exposition(metrics, lambda: readings).text())


def test_every_reading_has_its_name() -> None:
    found = exposed(Metrics())
    alone = {name: values[()] for name, values in found.items() if () in values and name.startswith("pysaslauthd_")}
    assert alone == {
        "pysaslauthd_questions_in_flight": 3,
        "pysaslauthd_refusals_held_back": 2,
        "pysaslauthd_refusals_delayed_total": 20,
        "pysaslauthd_logins_stale_total": 4,
        "pysaslauthd_cache_entries": 7,
        "pysaslauthd_cache_max_entries": 100,
        "pysaslauthd_cache_hits_total": 0,
        "pysaslauthd_cache_misses_total": 0,
        "pysaslauthd_directory_failovers_total": 6,
        "pysaslauthd_watch_covered": 1,
        "pysaslauthd_log_lines_lost_total": 11,
    }
    one, two, three = ((("server", f"ldap://ds{number}/"),) for number in (1, 2, 3))
    assert found["pysaslauthd_directory_up"] == {one: 1, two: 0}
    assert found["pysaslauthd_directory_failures_total"] == {one: 1, two: 9, three: 0}
    assert found["pysaslauthd_directory_connections"] == {one: 4, two: 0, three: 0}
    assert found["pysaslauthd_directory_requests_in_flight"] == {one: 2, two: 0, three: 0}
    assert found["pysaslauthd_connections"] == {(("door", "mux"),): 5, (("door", "dovecot"),): 1}
    refused = {(("door", "mux"), ("fault", "malformed")): 8, (("door", "dovecot"), ("fault", "full")): 0}
    assert found["pysaslauthd_requests_refused_total"] == refused
    assert found["pysaslauthd_info"] == {(("version", "1.2.3"),): 1}
    assert found["process_resident_memory_bytes"][()] > 0


def test_logins_are_told_by_door_verdict_and_reason() -> None:
    metrics = Metrics()
    metrics.login("mux", Outcome(Reason.OK), 0.003)
    metrics.login("dovecot", Outcome(Reason.WRONG_PASSWORD), 0.004)
    found = exposed(metrics)["pysaslauthd_logins_total"]
    assert {labels: value for labels, value in found.items() if value} == {
        (("door", "mux"), ("reason", "ok"), ("verdict", "accepted")): 1,
        (("door", "dovecot"), ("reason", "wrong-password"), ("verdict", "rejected")): 1,
    }
    assert len(found) == 2 * len(Reason)


def test_durations_are_cumulative_histograms() -> None:
    metrics = Metrics()
    for seconds in (0.0002, 0.003, 0.003, 9.0):
        metrics.login("mux", Outcome(Reason.OK), seconds)
    metrics.operation("search", 0.002, False)
    found = exposed(metrics)
    group = ("cached", "no"), ("verdict", "accepted")
    buckets = {
        dict(labels)["le"]: value
        for labels, value in found["pysaslauthd_login_duration_seconds_bucket"].items()
        if set(group) <= set(labels)
    }
    assert [buckets[bound] for bound in ("0.0001", "0.00025", "0.0025", "0.005", "4.0", "+Inf")] == [0, 1, 1, 3, 3, 4]
    assert found["pysaslauthd_login_duration_seconds_count"][group] == 4
    assert round(found["pysaslauthd_login_duration_seconds_sum"][group], 4) == 9.0062
    search = ("answered", "no"), ("operation", "search")
    assert found["pysaslauthd_directory_operation_duration_seconds_count"][search] == 1


def test_without_a_cache_nothing_is_told_of_one() -> None:
    names = exposed(Metrics(), READINGS._replace(cache=None))
    assert not [name for name in names if "cache" in name or "stale" in name]


def test_the_watch_of_each_realm_is_told() -> None:
    found = exposed(Metrics())
    server, realm = ("server", "ldap://ds1/"), ("realm", "b.cxm")
    assert found["pysaslauthd_watch_covered"] == {(): 1, (realm,): 0}
    assert found["pysaslauthd_watch_up"] == {(server,): 1, (realm, server): 0}
    assert found["pysaslauthd_watch_changes_total"] == {(server,): 12, (realm, server): 0}
    assert found["pysaslauthd_watch_losses_total"] == {(server,): 3, (realm, server): 0}


def test_a_server_that_is_named_twice_is_told_of_once() -> None:
    [state, *_] = READINGS.servers
    found = exposed(Metrics(), READINGS._replace(servers=[state, state]))
    assert found["pysaslauthd_directory_up"] == {(("server", "ldap://ds1/"),): 1}


def test_a_server_of_two_realms_is_told_of_twice() -> None:
    [state, *_] = READINGS.servers
    found = exposed(Metrics(), READINGS._replace(servers=[state, state._replace(realm="hoge.cxm", up=False)]))
    server = ("server", "ldap://ds1/")
    assert found["pysaslauthd_directory_up"] == {(server,): 1, (("realm", "hoge.cxm"), server): 0}


def test_a_label_cannot_break_out_of_its_line() -> None:
    state = READINGS.servers[0]._replace(server='x"} 1\ny\\')
    found = exposed(Metrics(), READINGS._replace(servers=[state]))
    assert found["pysaslauthd_directory_up"] == {(("server", 'x"} 1\ny\\'),): 1}


def test_the_number_of_series_does_not_grow_with_logins() -> None:
    metrics = Metrics()
    before = {name: len(values) for name, values in exposed(metrics).items()}
    for reason in Reason:
        for cached in (False, True):
            metrics.login("mux", Outcome(reason, detail=f"{reason}", dn=b"dn", server="s", cached=cached), 0.1)
    after = {name: len(values) for name, values in exposed(metrics).items()}
    assert after == before
    assert sum(after.values()) < 400


def test_a_text_is_served_again_for_a_second() -> None:
    clock, metrics = Clock(), Metrics()
    made: list[Readings] = []

    def read() -> Readings:
        made.append(READINGS)
        return READINGS

    exposition = Exposition(metrics, read, clock)
    made.clear()  # registering reads once
    first = exposition.text()
    metrics.login("mux", Outcome(Reason.OK), 0.003)
    clock.now += KEEP_SECONDS - 0.001
    assert exposition.text() is first
    clock.now += 0.001
    assert exposition.text() != first
    assert len(made) == 2
