"""``python -m benchmarks``: how fast we are, alone or beside the others.

    python -m benchmarks ours
    python -m benchmarks peers --systems bgtasks_postgres,pgqueuer --workloads drain
    python -m benchmarks report .bench/ours.json .bench/peers.json --into docs/performance

Servers are looked for where ``services`` says; what is installed, stored and found
goes into ``.bench/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.environments import WORKSPACE, environments
from benchmarks.results import Results
from benchmarks.suite import Plan, run
from benchmarks.targets import FLOORS, OURS
from benchmarks.workloads import WORKLOADS, Sizes

#: What says something only about ourselves, and what only beside others.
OUR_WORKLOADS = ("flat", "snapshot", "schedules", "pages")
PEER_WORKLOADS = ("crunch",)
PICKUP_SAMPLES = 300


def main() -> None:
    options = _parser().parse_args()
    if options.command == "report":
        runs = {path.stem: Results.load(path) for path in options.results}
        for path in report.write(runs, options.into):
            print(path)
        return
    results = run(_plan(options))
    print(report.setup(results), report.figures(results), sep="\n")
    print(report.verdicts([results]))
    print(f"All figures: {options.output}")
    sys.exit(1 if results.failures else 0)


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        systems=options.systems,
        workloads=options.workloads,
        rounds=options.rounds,
        sizes=Sizes(
            jobs=options.jobs,
            rows=options.rows,
            samples=max(30, PICKUP_SAMPLES // options.rounds),
            schedules=options.schedules,
        ),
        output=options.output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    commands = parser.add_subparsers(dest="command", required=True)
    everybody = sorted(environments(), key=lambda name: (name not in OURS, name))
    _add_run(
        commands.add_parser("ours", help="our systems and the floors under them"),
        systems=[name for name in everybody if name in (*OURS, *FLOORS)],
        workloads=[name for name in WORKLOADS if name not in PEER_WORKLOADS],
        output="ours.json",
    )
    _add_run(
        commands.add_parser("peers", help="side by side with other systems"),
        systems=everybody,
        workloads=[name for name in WORKLOADS if name not in OUR_WORKLOADS],
        output="peers.json",
    )
    rendering = commands.add_parser("report", help="write what the docs include")
    rendering.add_argument(
        "results", type=Path, nargs="+", help="as ours and peers wrote them"
    )
    rendering.add_argument("--into", type=Path, default=Path("docs/performance"))
    return parser


def _add_run(
    parser: argparse.ArgumentParser,
    *,
    systems: list[str],
    workloads: list[str],
    output: str,
) -> None:
    parser.add_argument(
        "--systems",
        type=_among(list(environments())),
        default=systems,
        help=f"default: {','.join(systems)}",
    )
    parser.add_argument(
        "--workloads",
        type=_among(list(WORKLOADS)),
        default=workloads,
        help=f"default: {','.join(workloads)}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--jobs", type=int, default=1_000_000, help="most jobs of a drain"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows that a full table holds"
    )
    parser.add_argument(
        "--schedules",
        type=int,
        default=100_000,
        help="periodic jobs, a hundredth of them due in each second",
    )
    parser.add_argument("--output", type=Path, default=WORKSPACE / output)


def _among(known: list[str]) -> Callable[[str], list[str]]:
    def names(value: str) -> list[str]:
        chosen = value.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is none of {', '.join(known)}"
                )
        return chosen

    return names


if __name__ == "__main__":
    main()
