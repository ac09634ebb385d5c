"""Results as Markdown, for the terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts, targets
from benchmarks.results import DRAINS, METRICS, Results

#: Columns that belong together; a table with all of them fits on no page.
TABLES = {
    "Throughput": [*DRAINS, "bulk", "naps", "crunch"],
    "Latency": [
        *("enqueue_p50", "enqueue_p99", "pickup_p50", "pickup_p99"),
        *("round_trip_p50", "round_trip_p99"),
    ],
    "Memory and idle CPU": [
        *("memory_idle_1", "memory_idle_2", "memory_loaded_1", "memory_loaded_2"),
        "idle_cpu",
    ],
    "Drain of a full table": [
        *("flat_empty", "flat_history", "flat_future", "flat_backlog"),
        *("snapshot_none", "snapshot_held"),
    ],
    "Pages of the admin": ["page_dashboard", "page_jobs", "page_job", "page_slowest"],
    "Periodic jobs": [
        *("tick_p50", "tick_p99", "tick_max"),
        "scheduler_idle_cpu",
    ],
}


def write(runs: Mapping[str, Results], folder: Path) -> list[Path]:
    """Write what the documentation includes into ``folder``.

    Args:
        runs: by the names that their files get.
    """
    folder.mkdir(parents=True, exist_ok=True)
    widest = max(runs.values(), key=lambda results: len(results.systems))
    texts = {"targets.md": verdicts(runs.values()), "drain.svg": charts.drain(widest)}
    for name, results in runs.items():
        texts[f"{name}.md"] = figures(results)
        texts[f"{name}-setup.md"] = setup(results)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def figures(results: Results) -> str:
    """A table for each group of metrics: medians, and how far the rounds spread."""
    parts = []
    for title, metrics in TABLES.items():
        known = [name for name in metrics if name in results.metrics()]
        if known:
            parts += [f"**{title}**", _figures_table(results, known)]
    return _paragraphs(*parts, _troubles(results))


def verdicts(runs: Iterable[Results]) -> str:
    """The targets, what was measured, and whether it is enough."""
    rows = [
        (
            verdict.target.title,
            f"{'≥' if verdict.target.more_is_better else '≤'} "
            f"{_number(verdict.target.limit)}",
            _number(verdict.measured),
            "met" if verdict.is_met else "**missed**",
        )
        for verdict in targets.check(list(runs))
    ]
    return _paragraphs(_table(("target", "limit", "measured", ""), rows))


def setup(results: Results) -> str:
    """The machine, and each system's versions and command."""
    about = results.about
    machine = (
        f"{about['cores']} cores ({about['cpu']}), {about['system']}; load average "
        f"{about['load_before']} before and {about['load_after']} after. Medians of "
        f"{about['rounds']} rounds; ± is half of what lies between them. Commit "
        f"{about['commit']}."
    )
    rows = [
        (facts["label"], _version(facts), facts["server"], f"`{facts['command']}`")
        for facts in results.systems.values()
    ]
    return _paragraphs(
        machine,
        _table(("system", "version", "server", "command of the worker"), rows),
        "\n".join(_packages(facts) for facts in results.systems.values()),
    )


def _packages(facts: dict[str, Any]) -> str:
    versions = [f"Python {facts['python']}"]
    versions += [f"{name} {version}" for name, version in facts["packages"].items()]
    return f"- {facts['label']}: {', '.join(versions)}"


def _figures_table(results: Results, metrics: Sequence[str]) -> str:
    heads = [f"{METRICS[name].title}, {METRICS[name].unit}" for name in metrics]
    rows = [
        (facts["label"], *(_figure(results, system, name) for name in metrics))
        for system, facts in results.systems.items()
        if results.figures.get(system, {}).keys() & set(metrics)
    ]
    return _table(("system", *heads), rows)


def _figure(results: Results, system: str, metric: str) -> str:
    median = results.median(system, metric)
    if median is None:
        return "-"
    rounds = results.figures[system][metric]
    spread = f" ±{results.spread(system, metric):.0%}" if len(rounds) > 1 else ""
    return f"{_number(median)}{spread}"


def _troubles(results: Results) -> str:
    lines = [f"- Failed: {failure}" for failure in results.failures]
    lines += [f"- {name} is left out: {why}" for name, why in results.left_out.items()]
    return "\n".join(lines)


def _version(facts: dict[str, Any]) -> str:
    package = facts["package"]
    return f"{package} {facts['packages'][package]}" if package else "-"


def _number(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
