"""The plot: costs of both libraries as bars, and how the first row scales."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from arithmetic import cost_ms, digits, speedup
from jobs import SCALINGS, Scaling
from spec import OURS, PEER
from tables import by_number, scaling_records

COLOURS = {OURS: "#d55e00", PEER: "#a0a0a0"}
INK = "#404040"
BAR = 0.38
NUMBER = FuncFormatter(lambda value, _: f"{value:g}")


def plot(path: Path, results: Mapping[str, Any]) -> bool:
    """Saves the figure, and says whether there was anything to plot."""
    rows = [record for record in results.get("rows", []) if record.get(OURS) or record.get(PEER)]
    scalings = [name for name in SCALINGS if scaling_records(results, name)]
    if not rows and not scalings:
        return False
    heights = ([0.5 + 0.55 * len(rows)] if rows else []) + ([2.6] if scalings else [])
    # A Figure of its own, not pyplot's: no window, no display, no global state.
    figure = Figure(figsize=(9.5, sum(heights) + 0.8), dpi=110, layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if rows:
        draw_rows(parts[0].subplots(), rows)
    if scalings:
        panels = parts[-1].subplots(1, len(SCALINGS))
        for axes in panels[len(scalings) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, scalings, strict=False):
            draw_scaling(axes, SCALINGS[name], scaling_records(results, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return True


def draw_rows(axes: Axes, records: Sequence[Mapping[str, Any]]) -> None:
    """Horizontal bars, the first row on top."""
    axes.set_xscale("log")
    for place, record in enumerate(records):
        whole = by_number(record["row"]).whole
        for package, offset in ((OURS, -BAR / 2), (PEER, BAR / 2)):
            if record.get(package):
                cost = cost_ms(record[package], whole)
                axes.barh(place + offset, cost, BAR, color=COLOURS[package])
                ratio = speedup(record, whole) if package == OURS else None
                faster = "" if ratio is None else f", {digits(ratio)} times faster"
                axes.annotate(
                    f"{digits(cost)} ms{faster}", (cost, place + offset), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8, color=INK,
                )  # fmt: skip
    rows = [by_number(record["row"]) for record in records]
    labels = [row.title.replace("; ", "\n") for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_title(
        "ms an entry (fully connected: the whole matrix)", loc="left",
        fontsize=10, color=INK,
    )  # fmt: skip
    measured = [name for name in COLOURS if any(record.get(name) for record in records)]
    for name in measured:
        axes.barh(0, 0, color=COLOURS[name], label=name)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    tidy(axes, "x")


def draw_scaling(axes: Axes, scaling: Scaling, records: Sequence[Mapping[str, Any]]) -> None:
    """Cost per entry on logarithmic axes, with the law dotted through the value of row 1."""
    cases = [record["case"] for record in records]
    costs = [cost_ms(record) for record in records]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(cases, costs, color=COLOURS[OURS], linewidth=1.8, marker="o", markersize=4)
    at = cases.index(scaling.row_1) if scaling.row_1 in cases else -1
    law = [costs[at] * (case / cases[at]) ** scaling.power for case in cases]
    axes.plot(cases, law, color=INK, linewidth=1, dashes=(2, 2))
    low, high = min(costs + law), max(costs + law)
    axes.set_ylim(low / 2, high * 2)
    axes.xaxis.set_major_locator(FixedLocator(cases))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(NUMBER)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(NUMBER)
    title = {0: "constant", 1: "linear", 4: "quadratic in pixels"}[scaling.power]
    axes.set_title(f"{scaling.title} (dotted: {title})", loc="left", fontsize=9, color=INK)
    axes.set_ylabel("ms an entry", fontsize=8)
    tidy(axes, "y")


def tidy(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if grid == "x" else "y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
