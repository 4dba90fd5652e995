"""Tables and plots of `docs/links.md`, from the figures of the benchmarks.

`python -m benchmarks.plots docs/links --relay relay.json --links links.json` writes SVG files there, and
prints the tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, BAR, LEFT, RIGHT = 640, 26, 230, 70
_INK, _BAR, _MARK = "#333", "#4878a8", "#c44"


def bars(title: str, rows: Sequence[tuple[str, float, str]], mark: float | None = None) -> str:
    """A bar for each row (label, value, what is written beside it), with a line at `mark`."""
    most = max([value for _, value, _ in rows] + ([mark] if mark else [])) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    height = 40 + BAR * len(rows)
    parts = [_text(10, 20, title, weight="bold")]
    for number, (label, value, beside) in enumerate(rows):
        y = 34 + BAR * number
        parts.append(_text(LEFT - 8, y + 14, label, anchor="end"))
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR - 8}" fill="{_BAR}"/>'
        )
        parts.append(_text(round(LEFT + value * scale + 6), y + 14, beside))
    if mark:
        x = LEFT + mark * scale
        parts.append(_line(x, 30, x, height - 6))
    return _svg(height, parts)


def asked_and_measured(title: str, points: Sequence[tuple[float, float]], unit: str) -> str:
    """Measured over asked, both logarithmic; on the line they are the same."""
    low = math.log10(min(min(point) for point in points)) - 0.2
    high = math.log10(max(max(point) for point in points)) + 0.2
    height, size = 400, 320

    def place(value: float) -> float:
        return (math.log10(value) - low) / (high - low) * size

    parts = [_text(10, 20, title, weight="bold"), _line(60, 30 + size, 60 + size, 30)]
    parts.append(f'<rect x="60" y="30" width="{size}" height="{size}" fill="none" stroke="{_INK}"/>')
    for asked in sorted({point[0] for point in points}):
        parts.append(_text(round(60 + place(asked)), 46 + size, f"{asked:g}", anchor="middle"))
        parts.append(_text(54, round(34 + size - place(asked)), f"{asked:g}", anchor="end"))
    for asked, measured in points:
        x, y = 60 + place(asked), 30 + size - place(measured)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_BAR}" fill-opacity="0.7"/>')
    parts.append(_text(60 + size // 2, 66 + size, f"asked, {unit}", anchor="middle"))
    parts.append(_text(70, 46, f"measured, {unit}"))
    return _svg(height, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
    style = 'font-family="sans-serif" font-size="12"'
    ground = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([f'{head} height="{height}" {style}>', ground, *parts, "</svg>\n"])


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{_INK}">'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_MARK}"'
        ' stroke-dasharray="4 3"/>'
    )


def delay_points(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    points = []
    for row in rows:
        if row["what"].startswith("delay,"):
            asked = float(row["asked"].split()[0])
            points += [(asked, float(value)) for value in re.findall(r"p\d+ ([\d.]+)", row["measured"])]
    return points


def of_relay(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The plots, by name; prints the table."""
    plots: dict[str, str] = {}
    if points := delay_points(rows):
        plots["delays"] = asked_and_measured("Delay: p50 and p95, idle and busy", points, "ms")
    rates = [
        (f"{row['what']} {row['asked']}", float(row["measured"].rstrip("%")), row["measured"])
        for row in rows
        if row["what"].startswith(("TCP goodput", "UDP at")) and re.fullmatch(r"[\d.]+%", row["measured"])
    ]
    if rates:
        plots["rates"] = bars("Measured rate in % of the rate asked for", rates, 100.0)
    print("| what | asked | measured | within the limits |\n|---|---|---|---|")
    for row in rows:
        verdict = {True: "yes", False: "no", None: ""}[row["good"]]
        print(f"| {row['what']} | {row['asked']} | {row['measured']} | {verdict} |")
    return plots


def of_links(figures: dict[str, Any]) -> dict[str, str]:
    """The plots, by name; prints the tables."""
    links = figures["links"]
    shares = [(row["name"], row["share"], f"{row['share']:.0%}") for row in links]
    trips = [(row["name"], row["rtt"], f"{row['rtt']:.0f}") for row in links]
    print("\n| link | of a bare veth pair | round trip | promised |\n|---|---|---|---|")
    for row in links:
        promise = "" if row["promise"] is None else f"{row['promise']:.0%}"
        print(f"| {row['name']} | {row['share']:.0%} | {row['rtt']:.0f} µs | {promise} |")
    print("\n| | through the taps | bypassed | ratio |\n|---|---|---|---|")
    for row in figures["bypass"]:
        values = [
            f"{row[key]:,.1f}" if row[key] < 1000 else f"{row[key]:,.0f}"
            for key in ("through taps", "bypassed")
        ]
        print(f"| {row['what']}, {row['unit']} | {values[0]} | {values[1]} | {row['ratio']:.2f} |")
    return {
        "throughput": bars("TCP throughput, as a share of a bare veth pair", shares, 1.0),
        "round-trips": bars("Round trip of a small datagram, µs", trips),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="tables and plots of the links' figures")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--relay", type=Path, help="what benchmarks.relay wrote")
    parser.add_argument("--links", type=Path, help="what benchmarks.links wrote")
    options = parser.parse_args(arguments)
    options.folder.mkdir(exist_ok=True)
    plots: dict[str, str] = {}
    if options.relay:
        parts = json.loads(options.relay.read_text())
        plots |= of_relay([row for part in parts.values() for row in part])
    if options.links:
        plots |= of_links(json.loads(options.links.read_text()))
    for name, svg in plots.items():
        (options.folder / f"{name}.svg").write_text(svg)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
