"""The gallery of nonlinearities: their duals, the errors of these, and what they make of depth.

Prints a table, and saves it to docs/activations.md with two figures in docs/images. Errors are
against integrals by mpmath. Of the layers that are integrals themselves, some pairs take long:
minutes in all.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import ntkjax
from gallery import GALLERY, Entry
from integrals import expectations
from ntkjax import dual
from ntkjax.stax import Dense, serial

DOCS = Path(__file__).resolve().parents[1] / "docs"
START, END = "<!-- The table of activations.py. -->\n", "<!-- End of the table. -->\n"
DEPTHS = (1, 4, 16)
COLOURS = ("#56b4e9", "#0072b2", "#d55e00")
#: v1, v2 and the correlation: parallel and opposite points of all sizes, and some in between.
SMALL, LARGE = 2.0**-14, 2.0**14  # so that covariances are not rounded
PAIRS = (
    (SMALL, SMALL, 1.0), (SMALL, LARGE, 1.0), (1.0, 1.0, 1.0), (LARGE, LARGE, 1.0),
    (LARGE, LARGE, -1.0), (1.0, 1.0, -1.0), (0.25, 4.0, -1.0), (1.0, 1.0, 0.5), (0.25, 1.0, -0.75),
)  # fmt: skip
#: Layers, and the relative distance of the points, of which the error of depth is taken.
DEEP, NEAR = 20, 1e-3
COUNT = 65  # correlations of the figures, and the number of pairs for which duals are compiled


class Result(NamedTuple):
    """What was found of one nonlinearity."""

    entry: Entry
    errors: tuple[float, float]  # in float64 and in float32
    deep: float  # error of the kernels of 20 layers in float32
    kernel: np.ndarray  # of one layer, at all correlations
    tangents: list[np.ndarray]  # by depth


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """All results, of which the table and the figures are made."""
    options = parse(arguments)
    jax.config.update("jax_enable_x64", True)
    chosen = [e for e in GALLERY if options.only is None or e.name in options.only.split(",")]
    results = []
    for entry in chosen:
        results.append(studied(entry))
        print(row(results[-1]), flush=True)
    options.docs.joinpath("images").mkdir(parents=True, exist_ok=True)
    draw_kernels(results).savefig(options.docs / "images" / "activations.png")
    draw_tangents(results).savefig(options.docs / "images" / "activations_ntk.png")
    page = options.docs / "activations.md"
    old = page.read_text() if page.exists() else START + END
    before, rest = old.split(START)
    page.write_text(before + START + table(results) + END + rest.split(END)[1])
    return results


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names of some nonlinearities", metavar="NAME,...")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args(arguments)
    if options.only is not None:
        names = [entry.name for entry in GALLERY]
        unknown = [name for name in options.only.split(",") if name not in names]
        if unknown:
            parser.error(f"--only: unknown {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def studied(entry: Entry) -> Result:
    """Errors of the dual and kernels of networks."""
    of = dual(entry.layer())
    correlations = np.cos(np.linspace(0, np.pi, COUNT))
    ones = np.ones(COUNT)
    energy = float(of(ones, ones, ones)[0][0])
    kernel, slope = (np.asarray(a) / energy for a in of(correlations, ones, ones))
    tangents, cosine, tangent = [], correlations, correlations
    for depth in range(1, DEPTHS[-1] + 1):
        # Weights have the standard deviation that keeps the variance of 1.
        value, slope = (np.asarray(a) / energy for a in of(cosine, ones, ones))
        tangent = value + tangent * slope
        cosine = np.clip(value, -1, 1)
        if depth in DEPTHS:
            tangents.append(tangent / tangent[0])
    return Result(entry, errors(entry, of), error_of_depth(entry, energy), kernel, tangents)


def errors(entry: Entry, of) -> tuple[float, float]:
    """The largest errors of E f f and E f' f', relative to the sizes of both points."""
    pairs = [p for p in PAIRS if entry.least <= min(p[:2]) and max(p[:2]) <= entry.most]
    padded = np.array([*pairs, *[(1.0, 1.0, 0.0)] * (COUNT - len(pairs))])
    v1, v2, c = padded.T
    found = [
        of(*(a.astype(dtype) for a in (c * np.sqrt(v1 * v2), v1, v2)))
        for dtype in (np.float64, np.float32)
    ]
    largest = np.zeros((2, 2))
    for i, pair in enumerate(pairs):
        # Of numbers that are written exactly, as they are in float64.
        for j, (wanted, size) in enumerate(expectations(entry, *pair)):
            for k in range(2):
                if abs(wanted) < 1e30 and size > 0:
                    error = abs(float(found[k][j][i]) - wanted) / size
                    largest[j, k] = max(largest[j, k], error)
    return float(np.max(largest[:, 0])), float(np.max(largest[:, 1]))


def error_of_depth(entry: Entry, energy: float) -> float:
    """The largest error of the NNGP and the NTK of 20 layers in float32, between near points.

    It is relative to the sizes of both points; weights keep the variance of 1.
    """
    rng = np.random.default_rng(0)
    points = rng.standard_normal((6, 20))
    points = np.concatenate([points, points + NEAR * rng.standard_normal(points.shape)])
    points /= np.sqrt(np.mean(points**2, axis=1, keepdims=True))
    layers = [Dense(1)]
    for _ in range(DEEP):
        layers += [entry.layer(), Dense(1, energy**-0.5)]
    kernel_fn = serial(*layers).kernel_fn
    single = points.astype(np.float32)
    with ntkjax.config.set(dtype="inputs"):
        found, true = (kernel_fn(x, None, ("nngp", "ntk")) for x in (single, single.astype(float)))
    errors = []
    with np.errstate(invalid="ignore"):  # NaN where both are infinite
        for one, exact in zip(found, true, strict=True):
            size = np.sqrt(np.diagonal(exact))
            errors.append(np.abs(np.asarray(one, float) - exact) / np.outer(size, size))
    return float(np.max(errors))


def row(result: Result) -> str:
    entry, (double, single) = result.entry, result.errors
    deep = f"{result.deep:.0e}" if result.deep < 0.01 else "unstable"
    numbers = f"{double:.0e} | {single:.0e} | {deep}"
    return f"| `{entry.title}` | {entry.function} | {entry.dual} | {numbers} |"


def table(results: Sequence[Result]) -> str:
    lines = [
        "| layer | $f(x)$ | $E f(u) f(v)$ | error, float64 | error, float32 | 20 layers, float32 |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        *map(row, results),
    ]
    return "\n" + "\n".join(lines) + "\n\n"


def panels(results: Sequence[Result]):
    """A figure with one small panel for each nonlinearity."""
    columns = min(6, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(1.55 * columns, 1.45 * rows + 0.4), dpi=80, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for one in axes[len(results) :]:
        one.set_axis_off()
    for one, result in zip(axes, results, strict=False):
        one.set_title(result.entry.name, fontsize=8)
        one.tick_params(labelsize=6)
        one.spines[["top", "right"]].set_visible(False)
        one.set_xticks([-1, 0, 1])
    return figure, axes


CORRELATIONS = np.cos(np.linspace(0, np.pi, COUNT))


def draw_kernels(results: Sequence[Result]) -> Figure:
    """K of one layer against the correlation of the inputs."""
    figure, axes = panels(results)
    for one, result in zip(axes, results, strict=False):
        one.plot(CORRELATIONS, result.kernel, color=COLOURS[1], linewidth=1.5)
    return figure


def draw_tangents(results: Sequence[Result]) -> Figure:
    """The NTK of some depths."""
    figure, axes = panels(results)
    for one, result in zip(axes, results, strict=False):
        for depth, tangent, colour in zip(DEPTHS, result.tangents, COLOURS, strict=True):
            one.plot(CORRELATIONS, tangent, color=colour, linewidth=1.2, label=f"depth {depth}")
    axes[0].legend(fontsize=6, frameon=False)
    return figure


if __name__ == "__main__":
    main()
