"""Horizontal bars as SVG, legible on a light page and on a dark one."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from benchmarks.results import DRAINS, METRICS, Results
from benchmarks.targets import FLOORS, OURS

WIDTH = 760
LABELS = 310
VALUES = 70
ROW = 26
BAR = 16
TOP = 34

#: One grey for all words: an image does not know what page it is on.
INK = "#767676"
OUR_COLOUR = "#1f9d6b"
FLOOR_COLOUR = "#b9a44c"
PEER_COLOUR = "#7d9bc0"


@dataclass(frozen=True)
class Bar:
    """One line of a chart."""

    label: str
    value: float
    colour: str


def drain(results: Results) -> str:
    """Who drains how fast, the fastest first."""
    bars = [
        Bar(_label(facts["label"], metric), value, _colour(system))
        for system, facts in results.systems.items()
        for metric in DRAINS
        if (value := results.median(system, metric)) is not None
    ]
    return _chart("No-op jobs per second, drained from a full queue", bars)


def _label(system: str, metric: str) -> str:
    variant = METRICS[metric].title.removeprefix("drain")
    return f"{system}{variant}"


def _colour(system: str) -> str:
    if system in OURS:
        return OUR_COLOUR
    return FLOOR_COLOUR if system in FLOORS else PEER_COLOUR


def _chart(title: str, bars: list[Bar]) -> str:
    bars = sorted(bars, key=lambda bar: -bar.value)
    longest = max((bar.value for bar in bars), default=1)
    height = TOP + ROW * len(bars) + 6
    rows = [_row(bar, TOP + ROW * number, longest) for number, bar in enumerate(bars)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' role="img" aria-label="{escape(title)}" font-family="system-ui,'
            f' sans-serif" font-size="13" fill="{INK}">',
            f'<text x="0" y="16" font-weight="600">{escape(title)}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _row(bar: Bar, y: int, longest: float) -> str:
    width = max(1.0, (WIDTH - LABELS - VALUES) * bar.value / longest)
    text_y = y + BAR - 3
    return (
        f'<text x="{LABELS - 8}" y="{text_y}" text-anchor="end">'
        f"{escape(bar.label)}</text>"
        f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"'
        f' fill="{bar.colour}"/>'
        f'<text x="{LABELS + width + 6:.1f}" y="{text_y}">{bar.value:,.0f}</text>'
    )
