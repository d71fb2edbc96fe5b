"""Twins of convolutions other than `Conv`, and of `BatchNorm`."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.contract.twins import Kernels, Twin, affine, conv


def conv_local(taps: Sequence[int], *args: Any, **options: Any) -> Twin:
    """ConvLocal: as Conv at equal positions, which alone share weights and biases."""
    shared = conv(taps, *args, **options)

    def twin(k: Kernels) -> Kernels:
        after = shared(k)
        eye = np.eye(math.prod(after.sizes))
        return after.map_cov(lambda cov: cov * eye, ntk=after.ntk * eye)

    return twin


def grouped_conv(groups: int, taps: Sequence[int], **options: Any) -> Twin:
    """Conv of groups of channels that are alike: each output has fewer inputs."""
    whole = conv(taps, **options)
    return lambda k: whole(dataclasses.replace(k, channels=k.channels // groups))


def depthwise_conv(taps: Sequence[int], times: int, **options: Any) -> Twin:
    """DepthwiseConv: each output has one channel of inputs."""
    alone = conv(taps, **options)

    def twin(k: Kernels) -> Kernels:
        after = alone(dataclasses.replace(k, channels=1))
        return dataclasses.replace(after, channels=times * k.channels)

    return twin


def transposed_axis(size: int, taps: int, stride: int, padding: str) -> np.ndarray:
    """Which output reads which input through which tap: 0/1, (tap, output, input).

    Input p reaches the outputs stride * p + (taps - 1 - tap) of all that any tap reaches. Of these,
    "SAME" keeps stride * size, from what JAX pads less on; a ring adds up what is equal modulo
    stride * size.
    """
    reached = stride * size + max(taps - stride, 0)
    full = np.zeros((taps, reached, size))
    for tap, p in itertools.product(range(taps), range(size)):
        full[tap, stride * p + taps - 1 - tap, p] = 1
    if padding == "VALID":
        return full
    kept = stride * size
    if padding == "SAME":
        before = taps - 1 if stride > taps - 1 else math.ceil((taps + stride - 2) / 2)
        first = taps - 1 - before
        return full[:, first : first + kept]
    ring = np.zeros((taps, kept, size))
    for output in range(reached):
        ring[:, (output - (reached - kept) // 2) % kept] += full[:, output]
    return ring


def conv_transpose(
    taps: Sequence[int], strides: Sequence[int], padding: str, **options: Any
) -> Twin:
    """ConvTranspose: for each tap, a matrix of what each output sees."""

    def twin(k: Kernels) -> Kernels:
        axes = [
            transposed_axis(*axis, padding) for axis in zip(k.sizes, taps, strides, strict=True)
        ]
        matrices = []
        for tap in itertools.product(*map(range, taps)):
            matrix = np.ones((1, 1))
            for axis, t in zip(axes, tap, strict=True):
                matrix = np.kron(matrix, axis[t])
            matrices.append(matrix)
        return affine(
            k, _mean(k, matrices, tuple(a.shape[1] for a in axes)), len(matrices), **options
        )

    return twin


def _mean(k: Kernels, matrices: list[np.ndarray], sizes: tuple[int, ...]) -> Kernels:
    """The mean over taps."""

    def mean(cov: np.ndarray) -> np.ndarray:
        return sum(matrix @ cov @ matrix.T for matrix in matrices) / len(matrices)

    return k.map_cov(mean, ntk=mean(k.ntk), sizes=sizes)


def batch_norm(statistics: Callable[[int], tuple[Any, Any]], eps: float) -> Twin:
    """BatchNorm of given means and variances, a function of the number of channels."""

    def twin(k: Kernels) -> Kernels:
        mean, variance = (np.asarray(a, float) for a in statistics(k.channels))
        factor = np.mean(1 / (variance + eps))
        shift = np.mean(mean**2 / (variance + eps))
        return k.map_cov(lambda cov: factor * cov + shift, ntk=factor * k.ntk)

    return twin
