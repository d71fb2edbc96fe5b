"""Layers with a twin: the same layer in NumPy, on the covariances of all pairs of positions.

A twin knows no diagonals, no distances, no batching and no shortcut: positions are rows and columns
of a matrix, and every layer is written as its definition says. Slow, and meant to be read.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ntkjax import stax

WIDTH = 3  # Output channels: of no effect but in the standard parameterization.


def fast_jit(fn: Callable) -> Callable:
    """`jax.jit` for what runs once, where compiling it well takes longer than running it."""
    return jax.jit(fn, compiler_options={"xla_backend_optimization_level": 0})


@dataclasses.dataclass(frozen=True)
class Kernels:
    """Covariances of all pairs of positions, each of shape (..., positions, positions).

    Attributes:
      cov: between the images of two batches, leading axes (n1, n2).
      ntk: their tangent kernel.
      cov1: of each first image with itself, leading axis n1.
      cov2: of each second image with itself, leading axis n2.
      sizes: positions along each axis, in row-major order.
      channels: of the finite network at this place.
    """

    cov: np.ndarray
    ntk: np.ndarray
    cov1: np.ndarray
    cov2: np.ndarray
    sizes: tuple[int, ...]
    channels: int

    def map_cov(self, fn: Callable[[np.ndarray], np.ndarray], **changes: Any) -> "Kernels":
        """Apply `fn` to the three covariances."""
        covs = {name: fn(getattr(self, name)) for name in ("cov", "cov1", "cov2")}
        return dataclasses.replace(self, **covs, **changes)

    @property
    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of first and second images, (n, positions)."""
        return diagonal(self.cov1), diagonal(self.cov2)


class Twin(NamedTuple):
    """A layer, and what it does to kernels."""

    layer: Any
    act: Callable[[Kernels], Kernels]


def diagonal(matrices: np.ndarray) -> np.ndarray:
    """The diagonal of each matrix."""
    return np.einsum("...pp->...p", matrices)


def kernels_of_inputs(x1: np.ndarray, x2: np.ndarray) -> Kernels:
    """Mean products of channels; inputs of shape (n, *sizes, channels)."""
    a, b = (x.astype(float).reshape(x.shape[0], -1, x.shape[-1]) for x in (x1, x2))
    channels = x1.shape[-1]
    return Kernels(
        cov=np.einsum("apc,bqc->abpq", a, b) / channels,
        ntk=np.zeros((len(a), len(b), a.shape[1], a.shape[1])),
        cov1=np.einsum("apc,aqc->apq", a, a) / channels,
        cov2=np.einsum("apc,aqc->apq", b, b) / channels,
        sizes=x1.shape[1:-1],
        channels=channels,
    )


def interleaved(matrices: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """(..., positions, positions) as (..., h, h, w, w)."""
    lead, ndim = matrices.ndim - 2, len(sizes)
    array = matrices.reshape(*matrices.shape[:lead], *sizes, *sizes)
    pairs = [lead + i for axis in range(ndim) for i in (axis, ndim + axis)]
    return array.transpose(*range(lead), *pairs)


# ---- windows


def window_axis(size: int, taps: int, stride: int, dilation: int, padding: str) -> list[list]:
    """For each output position, the input position of each tap; None where it is outside."""
    extent = dilation * (taps - 1) + 1
    outputs = (size - extent) // stride + 1 if padding == "VALID" else math.ceil(size / stride)
    before = 0 if padding == "VALID" else max((outputs - 1) * stride + extent - size, 0) // 2

    def place(position: int) -> int | None:
        if padding == "CIRCULAR":
            return position % size
        return position if 0 <= position < size else None

    return [
        [place(stride * output + dilation * tap - before) for tap in range(taps)]
        for output in range(outputs)
    ]


def tap_matrices(
    sizes: tuple[int, ...],
    taps: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: str,
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """For each tap, the 0/1 matrix (outputs, inputs) of what each output sees; and output sizes."""
    axes = [window_axis(*a, padding) for a in zip(sizes, taps, strides, dilation, strict=True)]
    sizes_out = tuple(map(len, axes))
    matrices = []
    for tap in itertools.product(*map(range, taps)):
        matrix = np.zeros((math.prod(sizes_out), math.prod(sizes)))
        for row, output in enumerate(np.ndindex(*sizes_out)):
            seen = [axis[o][t] for axis, o, t in zip(axes, output, tap, strict=True)]
            if None not in seen:
                matrix[row, np.ravel_multi_index(seen, sizes)] = 1
        matrices.append(matrix)
    return matrices, sizes_out


# ---- layers


def affine(kernels: Kernels, seen: Kernels, taps: int, options: dict[str, Any]) -> Kernels:
    """Random weights and biases, after `seen` has averaged over taps."""
    weight = options.get("W_std", 1.0) ** 2
    bias = options.get("b_std")
    s_in, s_out = options.get("s", (1, 1))
    after = seen.map_cov(lambda cov: weight * cov + (bias or 0.0) ** 2)
    if options.get("parameterization") == "standard":
        own = kernels.channels * taps / s_in * seen.cov + (bias is not None)
        channels = WIDTH * s_out
    else:
        own, channels = after.cov, WIDTH
    return dataclasses.replace(after, ntk=weight * seen.ntk + own, channels=channels)


def dense(**options: Any) -> Twin:
    """Dense, at each position."""
    return Twin(stax.Dense(WIDTH, **options), lambda k: affine(k, k, 1, options))


def conv(
    taps: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    padding: str = "VALID",
    dilation: tuple[int, ...] | None = None,
    **options: Any,
) -> Twin:
    """Conv: the same tap on both sides, since the weights are shared."""
    ones = (1,) * len(taps)

    def act(kernels: Kernels) -> Kernels:
        matrices, sizes = tap_matrices(
            kernels.sizes, taps, strides or ones, dilation or ones, padding
        )

        def mean(cov: np.ndarray) -> np.ndarray:
            return sum(m @ cov @ m.T for m in matrices) / len(matrices)

        seen = kernels.map_cov(mean, ntk=mean(kernels.ntk), sizes=sizes)
        return affine(kernels, seen, len(matrices), options)

    return Twin(stax.Conv(WIDTH, taps, strides, padding, dilation=dilation, **options), act)


def linear(kernels: Kernels, matrix: np.ndarray, sizes: tuple[int, ...]) -> Kernels:
    """K <- A K A^T."""

    def move(cov: np.ndarray) -> np.ndarray:
        return matrix @ cov @ matrix.T

    return kernels.map_cov(move, ntk=move(kernels.ntk), sizes=sizes)


def pool(
    kind: str,
    taps: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    padding: str = "VALID",
    normalize_edges: bool = False,
) -> Twin:
    """AvgPool or SumPool: any two taps of the two windows."""

    def act(kernels: Kernels) -> Kernels:
        ones = (1,) * len(taps)
        matrices, sizes = tap_matrices(kernels.sizes, taps, strides or ones, ones, padding)
        matrix = sum(matrices)
        if kind == "avg":
            matrix = matrix / (matrix.sum(1, keepdims=True) if normalize_edges else len(matrices))
        return linear(kernels, matrix, sizes)

    if kind == "avg":
        return Twin(stax.AvgPool(taps, strides, padding, normalize_edges), act)
    return Twin(stax.SumPool(taps, strides, padding), act)


def global_pool(kind: str) -> Twin:
    """GlobalAvgPool or GlobalSumPool: all pairs of positions."""

    def act(kernels: Kernels) -> Kernels:
        positions = math.prod(kernels.sizes)
        value = 1 / positions if kind == "avg" else 1.0
        return linear(kernels, np.full((1, positions), value), ())

    return Twin(stax.GlobalAvgPool() if kind == "avg" else stax.GlobalSumPool(), act)


def flatten() -> Twin:
    """Flatten: equal positions alone."""

    def act(kernels: Kernels) -> Kernels:
        positions = math.prod(kernels.sizes)

        def mean(cov: np.ndarray) -> np.ndarray:
            return np.trace(cov, axis1=-2, axis2=-1)[..., None, None] / positions

        channels = kernels.channels * positions
        return kernels.map_cov(mean, ntk=mean(kernels.ntk), sizes=(), channels=channels)

    return Twin(stax.Flatten(), act)


def nonlinearity(layer: Any, dual: Callable, derivative: Callable) -> Twin:
    """A nonlinearity, of its two expectations as functions of two variances and a covariance."""

    def act(kernels: Kernels) -> Kernels:
        v1, v2 = kernels.variances
        rows, columns = v1[:, None, :, None], v2[None, :, None, :]

        def own(cov: np.ndarray, v: np.ndarray) -> np.ndarray:
            return dual(v[:, :, None], cov, v[:, None, :])

        return dataclasses.replace(
            kernels,
            cov=dual(rows, kernels.cov, columns),
            ntk=kernels.ntk * derivative(rows, kernels.cov, columns),
            cov1=own(kernels.cov1, v1),
            cov2=own(kernels.cov2, v2),
        )

    return Twin(layer, act)


def abrelu_dual(a: float, b: float, v1: Any, cov: Any, v2: Any) -> Any:
    """E f(u) f(v) for f(x) = a min(x, 0) + b max(x, 0): Cho & Saul 2009."""
    product = np.sqrt(v1 * v2)
    theta = np.arccos(np.clip(cov / np.where(product > 0, product, 1.0), -1, 1))
    same = product * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    opposite = product * (np.sin(theta) - theta * np.cos(theta)) / (2 * np.pi)
    return (a**2 + b**2) * same - 2 * a * b * opposite


def abrelu_derivative(a: float, b: float, v1: Any, cov: Any, v2: Any) -> Any:
    """E f'(u) f'(v) of the same."""
    product = np.sqrt(v1 * v2)
    theta = np.arccos(np.clip(cov / np.where(product > 0, product, 1.0), -1, 1))
    return (a**2 + b**2) * (np.pi - theta) / (2 * np.pi) + 2 * a * b * theta / (2 * np.pi)


def abrelu(a: float, b: float) -> Twin:
    """ABRelu, or the layer of a name of its own for its slopes."""
    named = {(0.0, 1.0): stax.Relu, (-1.0, 1.0): stax.Abs}
    layer = named[a, b]() if (a, b) in named else stax.ABRelu(a, b)
    return nonlinearity(
        layer, functools.partial(abrelu_dual, a, b), functools.partial(abrelu_derivative, a, b)
    )


def erf_dual(a: float, b: float, c: float, v1: Any, cov: Any, v2: Any) -> Any:
    """E f(u) f(v) for f(x) = a erf(b x) + c: Williams 1997, eq. 11."""
    root = np.sqrt((1 + 2 * b**2 * v1) * (1 + 2 * b**2 * v2))
    return a**2 * 2 / np.pi * np.arcsin(2 * b**2 * cov / root) + c**2


def erf_derivative(a: float, b: float, c: float, v1: Any, cov: Any, v2: Any) -> Any:
    """E f'(u) f'(v) of the same."""
    inner = (1 + 2 * b**2 * v1) * (1 + 2 * b**2 * v2) - 4 * b**4 * cov**2
    return a**2 * b**2 * 4 / np.pi / np.sqrt(inner)


def erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Twin:
    """Erf."""
    return nonlinearity(
        stax.Erf(a, b, c),
        functools.partial(erf_dual, a, b, c),
        functools.partial(erf_derivative, a, b, c),
    )


def gelu_dual(v1: Any, cov: Any, v2: Any) -> Any:
    """E f(u) f(v) for f(x) = x Phi(x): Tsuchida et al. 2021, arXiv 2002.08517."""
    both = (1 + v1) * (1 + v2)
    square = both - cov**2
    even = (cov**2 + v1 * v2 * square) / (both * np.sqrt(square))
    return cov / 4 + (even + cov * np.arctan(cov / np.sqrt(square))) / (2 * np.pi)


def gelu_derivative(v1: Any, cov: Any, v2: Any) -> Any:
    """E f'(u) f'(v) of the same."""
    both = (1 + v1) * (1 + v2)
    root = np.sqrt(both - cov**2)
    odd = cov / root * (1 / root**2 + (1 - v1 * v2) / both + 1)
    return 1 / 4 + (np.arctan(cov / root) + odd) / (2 * np.pi)


def gelu() -> Twin:
    """Gelu."""
    return nonlinearity(stax.Gelu(), gelu_dual, gelu_derivative)


def layer_norm(over: tuple[int, ...] = (), eps: float = 1e-12) -> Twin:
    """LayerNorm over channels and the spatial axes `over`."""

    def act(kernels: Kernels) -> Kernels:
        def scale(variances: np.ndarray) -> np.ndarray:
            images = variances.reshape(-1, *kernels.sizes)
            mean = images.mean(tuple(1 + axis for axis in over), keepdims=True) if over else images
            return np.broadcast_to(1 / np.sqrt(eps + mean), images.shape).reshape(variances.shape)

        s1, s2 = map(scale, kernels.variances)
        both = s1[:, None, :, None] * s2[None, :, None, :]
        return dataclasses.replace(
            kernels,
            cov=both * kernels.cov,
            ntk=both * kernels.ntk,
            cov1=s1[:, :, None] * s1[:, None, :] * kernels.cov1,
            cov2=s2[:, :, None] * s2[:, None, :] * kernels.cov2,
        )

    axis = (*(1 + axis for axis in over), -1)
    return Twin(stax.LayerNorm(axis, eps), act)


# ---- combinators


def serial(*twins: Twin) -> Twin:
    """One after the other."""

    def act(kernels: Kernels) -> Kernels:
        return functools.reduce(lambda k, twin: twin.act(k), twins, kernels)

    return Twin(stax.serial(*(twin.layer for twin in twins)), act)


def identity() -> Twin:
    """The skip connection."""
    return Twin(stax.Identity(), lambda kernels: kernels)


def branches(*twins: Twin) -> Twin:
    """FanOut, one branch each, FanInSum."""

    def act(kernels: Kernels) -> Kernels:
        parts = [twin.act(kernels) for twin in twins]
        sums = {n: sum(getattr(p, n) for p in parts) for n in ("cov", "ntk", "cov1", "cov2")}
        return dataclasses.replace(parts[0], **sums)

    layers = stax.parallel(*(twin.layer for twin in twins))
    return Twin(stax.serial(stax.FanOut(len(twins)), layers, stax.FanInSum()), act)
