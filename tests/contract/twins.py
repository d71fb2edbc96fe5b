"""Twins: every layer once more, in NumPy, on the covariances of all pairs of positions.

A twin is a function from kernels to kernels, and `serial` composes twins as it composes layers. It
shares no code with the library and none of its ideas: no diagonals, no distances, no tiles and no
shortcut. Positions are rows and columns of a matrix, and each layer is what its definition says.

Two positions, one image and a pool over both, in numbers: the inputs [[1], [3]] (one channel) have
the covariances [[1, 3], [3, 9]], and with A = [[1/2, 1/2]] the pool leaves A K A^T = [[4]], which
is the square of the mean 2.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.contract.expectations import Expectations


@dataclasses.dataclass(frozen=True)
class Kernels:
    """Kernels of all pairs of positions, each of shape (..., positions, positions).

    Attributes:
      cov: NNGP between the images of two batches, leading axes (n1, n2).
      ntk: their tangent kernel.
      cov1: NNGP of each first image with itself, leading axis n1.
      cov2: NNGP of each second image with itself, leading axis n2.
      sizes: positions along each axis, in row-major order.
      channels: of the finite network at this place.
      width: what each layer with weights is told as its number of output channels.
    """

    cov: np.ndarray
    ntk: np.ndarray
    cov1: np.ndarray
    cov2: np.ndarray
    sizes: tuple[int, ...]
    channels: int
    width: int

    def map_cov(self, fn: Callable[[np.ndarray], np.ndarray], **changes: Any) -> "Kernels":
        """Apply `fn` to the three covariances."""
        covs = {name: fn(getattr(self, name)) for name in ("cov", "cov1", "cov2")}
        return dataclasses.replace(self, **covs, **changes)

    @property
    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of first and second images, (n, positions)."""
        return np.einsum("app->ap", self.cov1), np.einsum("app->ap", self.cov2)


#: Kernels of one signal, or of several in nested lists.
Value = Any
Twin = Callable[[Value], Value]


def inputs(x1: Any, x2: Any, width: int) -> Value:
    """Mean products of channels; x1 and x2 of shape (n, *sizes, channels), or lists of them."""
    if isinstance(x1, list):
        return [inputs(a, b, width) for a, b in zip(x1, x2, strict=True)]
    a, b = (np.asarray(x, float).reshape(len(x), -1, x.shape[-1]) for x in (x1, x2))
    channels = x1.shape[-1]
    return Kernels(
        cov=np.einsum("apc,bqc->abpq", a, b) / channels,
        ntk=np.zeros((len(a), len(b), a.shape[1], b.shape[1])),
        cov1=np.einsum("apc,aqc->apq", a, a) / channels,
        cov2=np.einsum("apc,aqc->apq", b, b) / channels,
        sizes=x1.shape[1:-1],
        channels=channels,
        width=width,
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
    taps: Sequence[int],
    strides: Sequence[int] | None,
    dilation: Sequence[int] | None,
    padding: str,
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """For each tap, the 0/1 matrix (outputs, inputs) of what each output sees; and output sizes."""
    ones = (1,) * len(taps)
    windows = zip(sizes, taps, strides or ones, dilation or ones, strict=True)
    axes = [window_axis(*window, padding) for window in windows]
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


# ---- layers with weights


def dense(**options: Any) -> Twin:
    """Dense, at each position."""
    return lambda k: affine(k, k, 1, **options)


def conv(
    taps: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    dilation: Sequence[int] | None = None,
    **options: Any,
) -> Twin:
    """Conv: the same tap on both sides, since the weights are shared."""

    def twin(k: Kernels) -> Kernels:
        matrices, sizes = tap_matrices(k.sizes, taps, strides, dilation, padding)

        def mean(cov: np.ndarray) -> np.ndarray:
            return sum(matrix @ cov @ matrix.T for matrix in matrices) / len(matrices)

        seen = k.map_cov(mean, ntk=mean(k.ntk), sizes=sizes)
        return affine(k, seen, len(matrices), **options)

    return twin


def affine(
    k: Kernels,
    seen: Kernels,
    taps: int,
    W_std: float = 1.0,
    b_std: float | None = None,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
) -> Kernels:
    """Random weights and biases, after `seen` has averaged over taps.

    The tangent kernel gains what the layer's own parameters contribute. In the NTK parameterization
    f = W_std W x / sqrt(N) + b_std b, so that is W_std^2 K + b_std^2, the new covariance. In the
    standard one f = W x / sqrt(s_in) + b, and it is N K / s_in + 1 (without biases, no 1).
    """
    after = seen.map_cov(lambda cov: W_std**2 * cov + (b_std or 0.0) ** 2)
    if parameterization == "ntk":
        own, channels = after.cov, k.width
    else:
        own = k.channels * taps / s[0] * seen.cov + (0.0 if b_std is None else 1.0)
        channels = k.width * s[1]
    return dataclasses.replace(after, ntk=W_std**2 * seen.ntk + own, channels=channels)


# ---- linear maps of positions


def linear(k: Kernels, matrix: np.ndarray, sizes: tuple[int, ...]) -> Kernels:
    """K <- A K A^T."""

    def move(cov: np.ndarray) -> np.ndarray:
        return matrix @ cov @ matrix.T

    return k.map_cov(move, ntk=move(k.ntk), sizes=sizes)


def sum_pool(
    taps: Sequence[int], strides: Sequence[int] | None = None, padding: str = "VALID"
) -> Twin:
    """SumPool: any two taps of the two windows."""

    def twin(k: Kernels) -> Kernels:
        matrices, sizes = tap_matrices(k.sizes, taps, strides, None, padding)
        return linear(k, sum(matrices), sizes)

    return twin


def avg_pool(
    taps: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    normalize_edges: bool = False,
) -> Twin:
    """AvgPool: divides by the positions of a window, or by those of them inside the image."""

    def twin(k: Kernels) -> Kernels:
        matrices, sizes = tap_matrices(k.sizes, taps, strides, None, padding)
        matrix = sum(matrices)
        count = matrix.sum(1, keepdims=True) if normalize_edges else len(matrices)
        return linear(k, matrix / count, sizes)

    return twin


def global_sum_pool() -> Twin:
    """GlobalSumPool: all pairs of positions."""
    return lambda k: linear(k, np.ones((1, math.prod(k.sizes))), ())


def global_avg_pool() -> Twin:
    """GlobalAvgPool: all pairs of positions."""
    return lambda k: linear(k, np.full((1, math.prod(k.sizes)), 1 / math.prod(k.sizes)), ())


def flatten() -> Twin:
    """Flatten: equal positions alone, for no two positions share a weight of the next layer."""

    def twin(k: Kernels) -> Kernels:
        positions = math.prod(k.sizes)

        def mean(cov: np.ndarray) -> np.ndarray:
            return np.trace(cov, axis1=-2, axis2=-1)[..., None, None] / positions

        return k.map_cov(mean, ntk=mean(k.ntk), sizes=(), channels=k.channels * positions)

    return twin


# ---- nonlinearities


def activation(of: Expectations) -> Twin:
    """A nonlinearity, by its two expectations."""

    def twin(k: Kernels) -> Kernels:
        v1, v2 = k.variances
        rows, columns = v1[:, None, :, None], v2[None, :, None, :]

        def own(cov: np.ndarray, v: np.ndarray) -> np.ndarray:
            return of.value(v[:, :, None], cov, v[:, None, :])

        return dataclasses.replace(
            k,
            cov=of.value(rows, k.cov, columns),
            ntk=k.ntk * of.slope(rows, k.cov, columns),
            cov1=own(k.cov1, v1),
            cov2=own(k.cov2, v2),
        )

    return twin


def layer_norm(over: Sequence[int] = (), eps: float = 1e-12) -> Twin:
    """LayerNorm over channels and the spatial axes `over`, counted from the first spatial axis."""

    def twin(k: Kernels) -> Kernels:
        def factors(variances: np.ndarray) -> np.ndarray:
            images = variances.reshape(-1, *k.sizes)
            mean = images.mean(tuple(1 + axis for axis in over), keepdims=True) if over else images
            return np.broadcast_to(1 / np.sqrt(eps + mean), images.shape).reshape(variances.shape)

        f1, f2 = map(factors, k.variances)
        both = f1[:, None, :, None] * f2[None, :, None, :]
        return dataclasses.replace(
            k,
            cov=both * k.cov,
            ntk=both * k.ntk,
            cov1=f1[:, :, None] * f1[:, None, :] * k.cov1,
            cov2=f2[:, :, None] * f2[:, None, :] * k.cov2,
        )

    return twin


# ---- combinators


def serial(*twins: Twin) -> Twin:
    """One after the other."""

    def twin(value: Value) -> Value:
        for layer in twins:
            value = layer(value)
        return value

    return twin


def repeat(layer: Twin, times: int) -> Twin:
    """One layer several times, with weights of its own each time."""
    return serial(*[layer] * times)


def parallel(*twins: Twin) -> Twin:
    """One for each entry of a list."""
    return lambda values: [twin(value) for twin, value in zip(twins, values, strict=True)]


def identity() -> Twin:
    """The skip connection."""
    return lambda k: k


def fan_out(num: int) -> Twin:
    """The same several times."""
    return lambda k: [k] * num


def fan_in_sum() -> Twin:
    """The sum of independent branches."""

    def twin(values: list[Kernels]) -> Kernels:
        names = ("cov", "ntk", "cov1", "cov2")
        sums = {name: sum(getattr(k, name) for k in values) for name in names}
        return dataclasses.replace(values[0], **sums)

    return twin
