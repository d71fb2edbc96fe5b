"""Figures of the demo, labelled at the lines and safe for colour-blind readers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's palette without its yellow, which is faint on white. Classical kernels are grey.
COLOURS = {
    "Gaussian": "#a0a0a0",
    "polynomial": "#a0a0a0",
    "arc-cosine": "#606060",
    "NNGP, fully connected": "#56b4e9",
    "NTK, fully connected": "#0072b2",
    "CNTK, Flatten": "#e69f00",
    "CNTK, global pooling": "#d55e00",
    "finite network": "#009e73",
}
DASHES = {"polynomial": (4, 1.5), "arc-cosine": (1.5, 1.5), "finite network": (6, 2)}
INK = "#404040"

ACCURACY_TICKS = (
    0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999,
)  # fmt: skip
ERROR_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# The logit scale has no place for 0 and 1; beyond these no demo measures.
LOWEST, HIGHEST = 0.01, 0.9995


def plot_accuracy(
    path: Path, title: str, sizes: Sequence[int], accuracies: Mapping[str, np.ndarray]
) -> None:
    """Mean test accuracy against training size; `accuracies` are (sizes, splits) in [0, 1]."""
    figure, axes = new_figure(title)
    axes.set_xscale("log")
    # On the logit scale 90 %, 99 % and 99.9 % are evenly spaced: late gains stay visible.
    axes.set_yscale("logit")
    ends = {}
    for name, values in accuracies.items():
        mean = np.clip(values.mean(axis=1), LOWEST, HIGHEST)
        ends[name] = float(mean[-1])
        axes.plot(
            sizes, mean, color=COLOURS[name], dashes=DASHES.get(name, (None, None)),
            linewidth=1.8, marker="o", markersize=3.5,
        )  # fmt: skip
    set_ticks(axes, sizes, ACCURACY_TICKS)
    axes.set_xlabel("training images")
    axes.set_ylabel("test accuracy")
    label_line_ends(figure, axes, sizes[-1], ends, COLOURS)
    save(figure, path)


def plot_convergence(
    path: Path, title: str, widths: Sequence[int], errors: Mapping[str, np.ndarray]
) -> None:
    """Relative error of the empirical NTK against width; `errors` are (widths, seeds)."""
    figure, axes = new_figure(title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    colours = dict(zip(errors, ("#d55e00", "#0072b2", "#009e73"), strict=False))
    ends = {}
    for name, values in errors.items():
        size = np.sqrt(np.mean(values**2, axis=1))
        ends[name] = float(size[-1])
        every_width = np.repeat(widths, values.shape[1])
        axes.plot(every_width, values.ravel(), ".", color=colours[name], alpha=0.35, mew=0)
        axes.plot(widths, size, color=colours[name], linewidth=1.8, marker="o", markersize=4)
        # The rate alone, through the geometric mean of the measurements.
        rate = 1 / np.sqrt(np.asarray(widths, float))
        rate *= np.exp(np.mean(np.log(size / rate)))
        axes.plot(widths, rate, color=colours[name], linewidth=1, dashes=(2, 2))
    set_ticks(axes, widths, ERROR_TICKS)
    axes.set_xlabel("width: channels or hidden units of each layer")
    axes.set_ylabel("relative error of the kernel")
    note = "dots: single networks · solid: their root mean square · dotted: the rate 1/√width"
    axes.text(0.0, 1.01, note, transform=axes.transAxes, color=INK, fontsize=8.5)
    label_line_ends(figure, axes, widths[-1], ends, colours)
    save(figure, path)


def new_figure(title: str) -> tuple[Figure, Axes]:
    # A Figure of its own, not pyplot's: no window, no display, no global state.
    figure = Figure(figsize=(8.0, 4.8), dpi=110)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.1, right=0.76, top=0.88, bottom=0.12)
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def new_panels(title: str, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure of panels beside each other, which share nothing but their look."""
    figure = Figure(figsize=(3.6 * len(titles), 3.6), dpi=110, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    panels = list(np.ravel(figure.subplots(1, len(titles), squeeze=False)))
    for axes, name in zip(panels, titles, strict=True):
        axes.set_title(name, loc="left", fontsize=9.5, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
    return figure, panels


def set_sizes(axes: Axes, x: Sequence[int]) -> None:
    """Ticks at the sizes that were measured."""
    axes.xaxis.set_major_locator(FixedLocator(list(x)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def set_ticks(axes: Axes, x: Sequence[int], y: Sequence[float]) -> None:
    """Ticks at the sizes that were measured, and at round percentages."""
    set_sizes(axes, x)
    axes.yaxis.set_major_locator(FixedLocator(list(y)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))


def label_line_ends(
    figure: Figure, axes: Axes, x: float, ends: Mapping[str, float], colours: Mapping[str, str]
) -> None:
    """Names beside the last points, pushed apart where they would overlap."""
    figure.draw_without_rendering()  # only now the limits of the axes are known
    to_pixels = axes.transData.transform
    names = sorted(ends, key=ends.__getitem__)
    wanted = np.array([to_pixels((x, ends[name]))[1] for name in names])
    placed = spread(wanted, gap=figure.dpi * 0.165)
    for name, pixel, place in zip(names, wanted, placed, strict=True):
        points = 72 / figure.dpi
        axes.annotate(
            name,
            (x, ends[name]),
            xytext=(18, (place - pixel) * points),
            textcoords="offset points",
            color=colours[name],
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[name],
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Ascending positions moved as little as it takes to be at least `gap` apart.

    Neighbours that are too close form a block, centred on the mean of what its members want.
    """
    blocks = [[position] for position in positions]
    merged = True
    while merged:
        merged = False
        for i in range(len(blocks) - 1):
            low, high = blocks[i], blocks[i + 1]
            reach = (len(low) + len(high)) / 2 * gap
            if np.mean(high) - np.mean(low) < reach:
                blocks[i : i + 2] = [low + high]
                merged = True
                break
    return np.concatenate(
        [np.mean(b) + gap * (np.arange(len(b)) - (len(b) - 1) / 2) for b in blocks]
    )


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
