"""A whole run: environments, rounds, results."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import EnvironmentFailed, environments
from benchmarks.results import METRICS, Results, about_this_machine, load_average
from benchmarks.running import NotOffered, RunFailed, Subject
from benchmarks.system import Load
from benchmarks.workloads import STEADY, WORKLOADS, Sizes


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        systems, workloads: their names.
        rounds: how often each system has its turn.
        sizes: how much of each.
        output: the JSON file that the results go to.
    """

    systems: list[str]
    workloads: list[str]
    rounds: int
    sizes: Sizes
    output: Path


def run(plan: Plan) -> Results:
    """Measure, one system after the other in every round: A B C, A B C."""
    results = Results({**about_this_machine(), "rounds": plan.rounds})
    subjects = _prepare(plan.systems, results)
    try:
        for workload in plan.workloads:
            for number in range(1 if workload in STEADY else plan.rounds):
                for subject in subjects:
                    _say(f"{workload}, round {number + 1}, {subject.facts['label']}:")
                    _measure(subject, workload, plan.sizes, results)
            # After each, for somebody may stop a long run.
            results.about["load_after"] = load_average()
            results.save(plan.output)
    finally:
        for subject in subjects:
            with suppress(RunFailed):
                subject.remove_everywhere()
    return results


def _prepare(systems: list[str], results: Results) -> list[Subject]:
    """Those that can be measured; why others cannot is among the results."""
    known = environments()
    subjects = []
    for name in systems:
        subject = Subject(known[name], place=name)
        try:
            known[name].make()
            subject.remove_everywhere()
            subject.start_anew()
            command = subject.command(Load("noop"))
        except (EnvironmentFailed, RunFailed) as error:
            _say(f"{name} is left out: {error}")
            results.left_out[name] = str(error)
            continue
        results.systems[name] = {**subject.facts, "command": command}
        subjects.append(subject)
    return subjects


def _measure(subject: Subject, workload: str, sizes: Sizes, results: Results) -> None:
    try:
        metrics = WORKLOADS[workload](subject, sizes)
    except NotOffered:
        _say("  has no such thing")
    except RunFailed as error:
        _say(f"  failed: {error}")
        results.failures.append(f"{subject.facts['label']}, {workload}: {error}")
    else:
        for name, value in metrics.items():
            _say(f"  {METRICS[name].title}: {value:,.4g} {METRICS[name].unit}")
        results.add(subject.name, metrics)


def _say(line: str) -> None:
    print(line, flush=True)
