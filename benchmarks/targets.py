"""What we want to reach, as ratios within one run wherever the machine matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import DRAINS, Results

#: A figure, worked out from results; None if they lack what it takes.
Measure = Callable[[Results], float | None]

POSTGRES = "bgtasks_postgres"
PSYCOPG = "psycopg_floor"
SQLITE = "bgtasks_sqlite"
SQLITE3 = "sqlite_floor"
HUEY_SQLITE = "huey_sqlite"

OURS = (POSTGRES, SQLITE, "bgtasks_mariadb")
FLOORS = (PSYCOPG, SQLITE3)


@dataclass(frozen=True)
class Target:
    """One line of the table of targets.

    Args:
        title: what is measured.
        limit: what it must reach, or not exceed.
        more_is_better: which of the two.
        measure: what it came to.
    """

    title: str
    limit: float
    more_is_better: bool
    measure: Measure


@dataclass(frozen=True)
class Verdict:
    """A target, and what came out."""

    target: Target
    measured: float

    @property
    def is_met(self) -> bool:
        if self.target.more_is_better:
            return self.measured >= self.target.limit
        return self.measured <= self.target.limit


def check(runs: Sequence[Results]) -> list[Verdict]:
    """Every target for which there are figures, all from the first run that has them."""
    verdicts = []
    for target in _targets():
        measured = [target.measure(results) for results in runs]
        known = [value for value in measured if value is not None]
        if known:
            verdicts.append(Verdict(target, known[0]))
    return verdicts


def _targets() -> list[Target]:
    return [
        *_postgresql_targets(),
        *_targets_of(
            POSTGRES, "PostgreSQL", insert=PSYCOPG, enqueue=1.6, pickup=(1.4, 4), idle=1
        ),
        *_sqlite_targets(),
        *_targets_of(
            SQLITE, "SQLite", insert=SQLITE3, enqueue=3, pickup=(4, 8), idle=1.5
        ),
    ]


def _postgresql_targets() -> list[Target]:
    drain = _best_drain(POSTGRES)
    held = _median(POSTGRES, "snapshot_held")
    free = _median(POSTGRES, "snapshot_none")
    return [
        _at_least(
            0.55,
            "PostgreSQL: drain, to a bare psycopg loop",
            _ratio(drain, _best_drain(PSYCOPG)),
        ),
        _at_least(
            1, "PostgreSQL: drain, to the fastest peer", _ratio(drain, _fastest_peer)
        ),
        _at_least(
            0.8,
            "PostgreSQL: drain under an old snapshot, to without",
            _ratio(held, free),
        ),
    ]


def _sqlite_targets() -> list[Target]:
    drain = _best_drain(SQLITE)
    return [
        _at_least(40_000, "SQLite: drain, jobs/s", drain),
        _at_least(
            10,
            "SQLite: drain, to Huey + SQLite",
            _ratio(drain, _best_drain(HUEY_SQLITE)),
        ),
    ]


def _targets_of(
    system: str,
    name: str,
    *,
    insert: str,
    enqueue: float,
    pickup: tuple[float, float],
    idle: float,
) -> list[Target]:
    def median(metric: str) -> Measure:
        return _median(system, metric)

    empty = median("flat_empty")
    one, two = median("memory_idle_1"), median("memory_idle_2")
    return [
        _at_least(
            0.95,
            f"{name}: drain with a million finished rows, to without",
            _ratio(median("flat_history"), empty),
        ),
        _at_least(
            0.95,
            f"{name}: drain with a million future rows, to without",
            _ratio(median("flat_future"), empty),
        ),
        _at_least(
            0.95,
            f"{name}: drain with 100,000 ready rows in another queue, to without",
            _ratio(median("flat_backlog"), empty),
        ),
        _at_most(
            enqueue,
            f"{name}: enqueue p50, to a bare INSERT",
            _ratio(median("enqueue_p50"), _median(insert, "enqueue_p50")),
        ),
        _at_least(60_000, f"{name}: bulk enqueue, jobs/s", median("bulk")),
        _at_most(pickup[0], f"{name}: pick-up p50, ms", median("pickup_p50")),
        _at_most(pickup[1], f"{name}: pick-up p99, ms", median("pickup_p99")),
        _at_most(idle, f"{name}: CPU when idle, % of a core", median("idle_cpu")),
        _at_most(
            0.5,
            f"{name}: memory of a second process, to the first",
            _ratio(_difference(two, one), one),
        ),
        _at_least(1_900, f"{name}: 10 ms naps, 20 at once, jobs/s", median("naps")),
        _at_most(
            1_000,
            f"{name}: tick to job with 1,000 due at once each second, the latest, ms",
            median("tick_max"),
        ),
        _at_most(
            0.5,
            f"{name}: CPU of an idle scheduler, % of a core",
            median("scheduler_idle_cpu"),
        ),
        _at_most(
            150,
            f"{name}: the slowest page beside a million finished jobs, ms",
            median("page_slowest"),
        ),
    ]


def _at_least(limit: float, title: str, measure: Measure) -> Target:
    return Target(title, limit, more_is_better=True, measure=measure)


def _at_most(limit: float, title: str, measure: Measure) -> Target:
    return Target(title, limit, more_is_better=False, measure=measure)


def _median(system: str, metric: str) -> Measure:
    return lambda results: results.median(system, metric)


def _best_drain(system: str) -> Measure:
    return lambda results: _highest(results, [system])


def _fastest_peer(results: Results) -> float | None:
    return _highest(results, [*results.systems.keys() - {*OURS, *FLOORS}])


def _highest(results: Results, systems: list[str]) -> float | None:
    medians = [results.median(name, drain) for name in systems for drain in DRAINS]
    return max((median for median in medians if median is not None), default=None)


def _ratio(dividend: Measure, divisor: Measure) -> Measure:
    def measure(results: Results) -> float | None:
        above, below = dividend(results), divisor(results)
        return None if above is None or not below else above / below

    return measure


def _difference(more: Measure, less: Measure) -> Measure:
    def measure(results: Results) -> float | None:
        high, low = more(results), less(results)
        return None if high is None or low is None else high - low

    return measure
