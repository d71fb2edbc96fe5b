r"""Between which points a function is smooth: found once, when its layer is made.

On an interval where the Chebyshev coefficients of f and of f' fall to a rounding error, both are
polynomials to all intents. All other intervals are cut in two, and in two again. Where f has a kink
or a step that never ends: what is left after many cuts is an interval as short as the numbers there
allow, and it is an edge. With the kinks known, f is cut once more, as coarsely as will do for a
Gauss-Legendre rule of n nodes, which integrates polynomials of degree 2 n - 1: f must be one to a
rounding error, and one of degree n - 1 to the root of it, since f is multiplied by itself. Adjacent
intervals are then joined, where f is smooth on both together.

|x|, cut at 0, 1, 2, 4, ...: it is a polynomial on [0, 1] and on [1, 2], which are joined, and on no
interval with zero inside. What is left is the edge 0, a kink.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy import ndarray

#: How far f is looked at: as far as it has no more than `_MOST` pieces.
_REACHES = (1024.0, 128.0, 16.0)
_MOST = 48
_SAMPLES = 48
#: How far around a point f is looked at to tell a kink.
_NEAR = 2.0**-10


class Pieces(NamedTuple):
    """The intervals on which a function is smooth.

    Attributes:
      edges: the points between them, without the ends at infinity.
      kinks: those of the edges where f or f' is not smooth.
    """

    edges: tuple[float, ...]
    kinks: tuple[float, ...]


class NotSmoothError(ValueError):
    """A function of too many pieces."""


#: Of points, the values of f and of f'.
Sampler = Callable[[ndarray], tuple[ndarray, ndarray]]


def pieces_of(
    sample: Sampler, count: int, tolerance: float, rounding: float, least: float = 2.0**-46
) -> Pieces:
    """The pieces of a function.

    Args:
      sample: f and f' at points `[n]`.
      count: nodes of the rule for each piece.
      tolerance: the error that is wanted, relative to the size of f.
      rounding: the rounding error of what `sample` returns, with some room.
      least: the length of an interval too short to be cut, relative to where it is.

    Raises:
      NotSmoothError: there are too many.
    """
    for reach in _REACHES:
        try:
            return _pieces_within(reach, sample, count, tolerance, rounding, least)
        except NotSmoothError:
            continue
    raise NotSmoothError(
        f"it has more than {_MOST} smooth pieces between -{_REACHES[-1]:g} and {_REACHES[-1]:g}"
    )


def _pieces_within(
    reach: float, sample: Sampler, count: int, tolerance: float, rounding: float, least: float
) -> Pieces:
    """The pieces of a function between -reach and reach; beyond, it is taken to go on."""
    powers = [2.0**k for k in range(-3, round(np.log2(reach)) + 1)]
    start = [*[-p for p in reversed(powers)], 0.0, *powers]
    fine = _Smoothness(sample, {24: rounding})
    _, broken = _bisected(fine, start, least)
    around = [(t - _NEAR * max(1.0, abs(t)), t + _NEAR * max(1.0, abs(t))) for t in start[1:-1]]
    kinks = {t for t, smooth in zip(start[1:-1], fine(around), strict=True) if not smooth}
    kinks = _apart(sorted({*kinks, *_clusters(broken)}))
    coarse = _Smoothness(sample, {count: tolerance**0.5, 2 * count - 2: tolerance})
    intervals, _ = _bisected(coarse, _apart(sorted({*start, *kinks}), kinks), 2.0**-20)
    edges = _joined(coarse, intervals, kinks)[1:-1]
    if len(edges) > _MOST:
        raise NotSmoothError
    return Pieces(tuple(edges), tuple(kinks))


def _apart(points: list[float], kept: Sequence[float] = ()) -> list[float]:
    """Points of which no two are nearer than rounding errors, those to be kept first."""
    found = list(kept)
    for t in points:
        if all(abs(t - other) > 2.0**-30 * max(1.0, abs(t)) for other in found):
            found.append(t)
    return sorted(found)


class _Smoothness:
    """Whether a function is a polynomial on intervals."""

    def __init__(self, sample: Sampler, tolerances: dict[int, float]):
        """`tolerances` says how large coefficients may be from a degree on."""
        self.sample = sample
        self.nodes = np.cos(np.pi * (np.arange(_SAMPLES) + 0.5) / _SAMPLES)
        degrees = np.arange(_SAMPLES)
        self.transform = 2 / _SAMPLES * np.cos(degrees[:, None] * np.arccos(self.nodes))
        self.bound = np.full(_SAMPLES, 1e100)
        for degree, tolerance in sorted(tolerances.items()):
            self.bound[degree:] = tolerance
        self.sizes = [np.max(np.abs(v)) for v in self._at([(-1.0, 1.0)])]

    def _at(self, intervals: Sequence[tuple[float, float]]) -> list[ndarray]:
        """Values of f and f' at the Chebyshev points of intervals."""
        ends = np.asarray(intervals)
        middle, half = ends.mean(1, keepdims=True), np.diff(ends) / 2
        points = middle + half * self.nodes
        return [np.reshape(v, points.shape) for v in self.sample(points.ravel())]

    def __call__(self, intervals: Sequence[tuple[float, float]]) -> list[bool]:
        """For each interval."""
        if not intervals:
            return []
        values = self._at(intervals)
        found = np.ones(len(intervals), bool)
        slack = (1.0, 3.0)  # f' is known to fewer digits
        for value, size, factor in zip(values, self.sizes, slack, strict=True):
            finite = np.all(np.isfinite(value), 1)
            value = np.where(finite[:, None], value, 0.0)
            scale = np.maximum(np.max(np.abs(value), 1, keepdims=True), size)
            relative = np.abs((value / np.where(scale > 0, scale, 1.0)) @ self.transform.T)
            found &= np.all(relative <= factor * self.bound, 1) & finite
        return list(found)


def _bisected(
    is_smooth: _Smoothness, edges: list[float], least: float
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Intervals on which f is smooth, in order, and those too short to be cut where it is not."""
    waiting, done, broken = list(itertools.pairwise(edges)), [], []
    while waiting:
        smooth, cut = is_smooth(waiting), []
        for (a, b), is_fine in zip(waiting, smooth, strict=True):
            if is_fine:
                done.append((a, b))
            elif b - a <= least * max(1.0, abs(a)):
                done.append((a, b))
                broken.append((a, b))
            else:
                cut += [(a, (a + b) / 2), ((a + b) / 2, b)]
        waiting = cut
        if len(waiting) > 4 * _MOST or len(done) > 16 * _MOST:
            raise NotSmoothError
    return sorted(done), sorted(broken)


def _clusters(broken: list[tuple[float, float]]) -> list[float]:
    """One point for each run of neighbouring intervals."""
    points: list[list[float]] = []
    for a, b in broken:
        if points and a - points[-1][-1] < 2.0**-30 * max(1.0, abs(a)):
            points[-1] += [a, b]
        else:
            points.append([a, b])
    return [float(np.mean([p[0], p[-1]])) for p in points]


def _joined(
    is_smooth: _Smoothness, intervals: list[tuple[float, float]], kinks: Sequence[float]
) -> list[float]:
    """The edges of as few intervals as will do, from left to right."""
    edges = [*intervals[0]]
    for middle, end in intervals[1:]:
        near = min(middle - edges[-2], end - middle)
        both = [(edges[-2], end), (middle - near, middle + near)]
        if middle not in kinks and all(is_smooth(both)):
            edges[-1] = end
        else:
            edges.append(end)
    return edges
