"""Kernels of small data sets: tangent kernels with frozen layers, and Gaussian ones.

With L' frozen layers of L, the first L' matrices of weights stay as they are drawn, and the tangent
kernel adds up the others alone (Arora et al. 2020, arXiv 1910.01663, section 3):

    Theta = sum over h = L' .. L of Sigma^(h) Sigma'^(h+1) ... Sigma'^(L)

A kernel that holds nothing of the frozen layers is a `Kernel` whose `ntk` is zero up to there; the
layers after it add theirs.
"""

import functools
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax import stax

DEPTHS = 5
#: Number of layers and of frozen ones, by name; of settings that are as good, the first is taken,
#: which is the shallowest network.
TANGENT = {
    f"depth {depth}, {frozen} frozen": (depth, frozen)
    for depth in range(1, DEPTHS + 1)
    for frozen in range(depth)
}
#: Rows are taken in blocks of this size, and features are filled up with zeros to a power of two,
#: so that all data sets share a few compiled programs.
BLOCK, LEAST_WIDTH = 256, 8

Named = Iterator[tuple[str, np.ndarray]]


def tangent_kernels(x: np.ndarray, names: Collection[str]) -> Named:
    """Tangent kernels of rows (n, d), of those names; each matrix (n, n) is computed once."""
    for frozen in range(DEPTHS):
        wanted = [name for name in names if TANGENT[name][1] == frozen]
        if wanted:
            kernels = kernels_by_depth(x, DEPTHS, frozen)
            yield from ((name, kernels[TANGENT[name][0] - 1]) for name in wanted)


def gaussian_kernels(x: np.ndarray, gammas: dict[str, float], names: Collection[str]) -> Named:
    """exp(-gamma |x - x'|^2 / d) between rows (n, d), of those names."""
    x = x.astype(np.float64)
    square = np.sum(x**2, axis=1)
    distance = np.maximum(square[:, None] + square - 2 * x @ x.T, 0.0)
    for name in names:
        yield name, np.exp(-gammas[name] / x.shape[1] * distance)


def kernels_by_depth(x: np.ndarray, depths: int, frozen: int) -> np.ndarray:
    """Kernels of rows (n, d) after 0 .. depths - 1 hidden layers: (depths, n, n), float64.

    The first `frozen` layers do not learn; kernels of fewer layers than these are zero. They are
    those of the paper: of inner products that are not divided by the number of features, and with
    weights of variance one before each ReLU.
    """
    wide = max(LEAST_WIDTH, 1 << (x.shape[1] - 1).bit_length())
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (0, wide - x.shape[1])))
    starts = range(0, len(x), BLOCK)
    blocks = [np.resize(x[start : start + BLOCK], (BLOCK, wide)) for start in starts]
    program, out = _program(depths), np.empty((depths, len(x), len(x)))
    for i, first in zip(starts, blocks, strict=True):
        for j, second in zip(starts, blocks, strict=True):
            if j >= i:
                n, m = min(BLOCK, len(x) - i), min(BLOCK, len(x) - j)
                made = np.asarray(program(first, second, frozen))[:, :n, :m]
                out[:, i : i + n, j : j + m] = made
                out[:, j : j + m, i : i + n] = made.swapaxes(1, 2)
    return out


@functools.cache
def _program(depths: int) -> Any:
    """The kernels of two blocks, compiled for any number of frozen layers."""
    first = stax.Dense(1).kernel_fn
    layer = stax.serial(stax.Relu(), stax.Dense(1)).kernel_fn

    @jax.jit
    def kernels(x1: Any, x2: Any, frozen: Any) -> Any:
        kernel, found = first(x1, x2), []
        for depth in range(depths):
            kernel = kernel if depth == 0 else layer(kernel)
            kernel = kernel.replace(ntk=jnp.where(frozen <= depth, kernel.ntk, 0.0))
            found.append(kernel.ntk)
        return x1.shape[1] * jnp.stack(found)

    return kernels
