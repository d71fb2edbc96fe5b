"""What is made from measured numbers: costs, ratios, differences between kernels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Entries = dict[tuple[int, int], float]


def cost_ms(side: Mapping[str, Any], whole: bool = False) -> float:
    """Median time of a call after the first, shared between the pairs of points of its block."""
    seconds = float(np.median(side["seconds"]))
    return 1e3 * seconds / (1 if whole else side["block"][0] * side["block"][1])


def speedup(record: Mapping[str, Any], whole: bool = False) -> float | None:
    """How many times less ntkjax takes; nothing where one library has no result."""
    ours, peer = record.get("ntkjax"), record.get("neural_tangents")
    if not ours or not peer:
        return None
    return cost_ms(peer, whole) / cost_ms(ours, whole)


def entries(answers: Iterable[Mapping[str, Any]]) -> Entries:
    """The kernel between the points i of the one and j of the other set, by (i, j)."""
    return {
        (answer["start"][0] + i, answer["start"][1] + j): value
        for answer in answers
        for i, row in enumerate(answer["ntk"])
        for j, value in enumerate(row)
    }


def largest_difference(ours: Entries, peer: Entries) -> tuple[float | None, int]:
    """Of the entries that both have, the largest relative difference, and how many there are."""
    shared = sorted(ours.keys() & peer.keys())
    if not shared:
        return None, 0
    a, b = (np.array([side[key] for key in shared]) for side in (ours, peer))
    return relative_error(a, b), len(shared)


def relative_error(kernel: np.ndarray, true: np.ndarray) -> float:
    """Largest relative error; not a number if any entry is none."""
    return float(np.max(np.abs(kernel - true) / np.abs(true)))


def smallest_eigenvalue(kernel: np.ndarray) -> float:
    if not np.isfinite(kernel).all():
        return float("nan")
    return float(np.linalg.eigvalsh((kernel + kernel.T) / 2)[0])


def accuracy(single: np.ndarray, double: np.ndarray) -> dict[str, float]:
    """A float32 kernel against the float64 one of the same points."""
    return {
        "error": relative_error(single, double),
        "eigenvalue": smallest_eigenvalue(single),
        "true_eigenvalue": smallest_eigenvalue(double),
    }


def digits(number: float, count: int = 3) -> str:
    """So many significant digits, without an exponent."""
    return np.format_float_positional(number, count, unique=False, fractional=False, trim="-")


def by_law(
    cases: Sequence[int], costs: Sequence[float], power: int, reference: int
) -> tuple[list[float], list[float]]:
    """Costs over case ** power, and these relative to the reference's (or the last case's)."""
    shares = [cost / case**power for case, cost in zip(cases, costs, strict=True)]
    base = shares[cases.index(reference) if reference in cases else -1]
    return shares, [share / base for share in shares]
