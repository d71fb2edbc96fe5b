"""Twins of masks and graphs: what a masked position is, and sums along edges, in loops.

A value here is a triple: kernels, and which positions of first and of second images are masked,
(n, positions). A masked position is a row and a column of zeros. `masked` makes of a twin one that
says so again after its layer, and where its outputs are masked.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.contract import twins, twins_branches, twins_sequences
from tests.contract.twins import Kernels, Twin
from tests.contract.twins_convolutions import transposed_axis

#: From a mask (n, positions) and the sizes of the axes to the mask after a layer.
Rule = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


def zeroed(k: Kernels, m1: np.ndarray, m2: np.ndarray) -> Kernels:
    """The kernels, zero in the rows and columns of masked positions."""
    cov, ntk, cov1, cov2 = (np.array(a) for a in (k.cov, k.ntk, k.cov1, k.cov2))
    for a in range(len(m1)):
        for p in np.flatnonzero(m1[a]):
            cov[a, :, p], ntk[a, :, p] = 0, 0
            cov1[a, p], cov1[a, :, p] = 0, 0
    for b in range(len(m2)):
        for q in np.flatnonzero(m2[b]):
            cov[:, b, :, q], ntk[:, b, :, q] = 0, 0
            cov2[b, q], cov2[b, :, q] = 0, 0
    return dataclasses.replace(k, cov=cov, ntk=ntk, cov1=cov1, cov2=cov2)


def start(mask_of: Callable[[int], np.ndarray]) -> Callable[[Kernels], Any]:
    """The inputs, masked by the number of images."""

    def twin(k: Kernels) -> Any:
        m1, m2 = (mask_of(n).reshape(n, -1) for n in k.cov.shape[:2])
        return zeroed(k, m1, m2), m1, m2

    return twin


def end(value: Any) -> Kernels:
    """The kernels alone."""
    return value[0]


def same(mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Layers that keep the place of a position."""
    return mask


def gone(mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Layers after which there are no positions: masked if all were."""
    return mask.all(1, keepdims=True)


def middle(taps: Any, strides: Any = None, padding: str = "VALID") -> Rule:
    """Windows: that of the position in the middle."""

    def rule(mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
        array = mask.reshape(len(mask), *sizes)
        ones = (1,) * len(taps)
        for axis, window in enumerate(zip(sizes, taps, strides or ones, ones, strict=True)):
            places = [seen[(window[1] - 1) // 2] for seen in twins.window_axis(*window, padding)]
            array = np.take(array, places, axis=1 + axis)
        return array.reshape(len(mask), -1)

    return rule


def masked(twin: Twin, rule: Rule = same) -> Callable[[Any], Any]:
    """A layer and the mask after it."""

    def of(value: Any) -> Any:
        k, m1, m2 = value
        m1, m2 = rule(m1, k.sizes), rule(m2, k.sizes)
        return zeroed(twin(k), m1, m2), m1, m2

    return of


def global_avg_pool(value: Any) -> Any:
    """The mean over the positions of an image that are not masked."""
    k, m1, m2 = value
    counts = [[max(np.sum(~one), 1) for one in mask] for mask in (m1, m2)]
    n = math.prod(k.sizes)
    after = twins.global_sum_pool()(k)
    cov, ntk, cov1, cov2 = (np.array(a) for a in (after.cov, after.ntk, after.cov1, after.cov2))
    for a, c1 in enumerate(counts[0]):
        cov1[a] /= c1 * c1
        for b, c2 in enumerate(counts[1]):
            cov[a, b] /= c1 * c2
            ntk[a, b] /= c1 * c2
    for b, c2 in enumerate(counts[1]):
        cov2[b] /= c2 * c2
    after = dataclasses.replace(after, cov=cov, ntk=ntk, cov1=cov1, cov2=cov2)
    return after, gone(m1, (n,)), gone(m2, (n,))


def layer_norm(over: tuple[int, ...], eps: float = 1e-12) -> Callable[[Any], Any]:
    """LayerNorm over spatial axes: masked positions do not count."""

    def of(value: Any) -> Any:
        k, m1, m2 = value

        def factors(variances: np.ndarray, mask: np.ndarray) -> np.ndarray:
            held = variances.reshape(-1, *k.sizes)
            seen = (~mask).reshape(held.shape)
            axes = tuple(1 + axis for axis in over)
            count = np.maximum(np.sum(seen, axes, keepdims=True), 1)
            mean = np.sum(held * seen, axes, keepdims=True) / count
            return np.broadcast_to(1 / np.sqrt(eps + mean), held.shape).reshape(variances.shape)

        f1, f2 = (factors(v, m) for v, m in zip(k.variances, (m1, m2), strict=True))
        both = f1[:, None, :, None] * f2[None, :, None, :]
        after = dataclasses.replace(
            k,
            cov=both * k.cov,
            ntk=both * k.ntk,
            cov1=f1[:, :, None] * f1[:, None, :] * k.cov1,
            cov2=f2[:, :, None] * f2[:, None, :] * k.cov2,
        )
        return after, m1, m2

    return of


def fan_in_sum(values: Any) -> Any:
    """The sum of branches, masked where all are."""
    total = twins.fan_in_sum()([k for k, _, _ in values])
    return total, *(np.all([value[i] for value in values], 0) for i in (1, 2))


def aggregate(graphs: Callable[[int], np.ndarray]) -> Twin:
    """Sums along edges: graphs [image, tail, head] by the number of images."""

    def twin(k: Kernels) -> Kernels:
        g1, g2 = map(graphs, k.cov.shape[:2])

        def moved(matrix: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
            out = np.zeros_like(matrix)
            for tail1, head1 in np.argwhere(one):
                for tail2, head2 in np.argwhere(two):
                    weight = one[tail1, head1] * two[tail2, head2]
                    out[head1, head2] += weight * matrix[tail1, tail2]
            return out

        def pairs(matrices: np.ndarray) -> np.ndarray:
            return np.array(
                [
                    [moved(m, g, h) for m, h in zip(row, g2, strict=True)]
                    for row, g in zip(matrices, g1, strict=True)
                ]
            )

        def own(matrices: np.ndarray, of: np.ndarray) -> np.ndarray:
            return np.array([moved(m, g, g) for m, g in zip(matrices, of, strict=True)])

        return dataclasses.replace(
            k, cov=pairs(k.cov), ntk=pairs(k.ntk), cov1=own(k.cov1, g1), cov2=own(k.cov2, g2)
        )

    return twin


def reached(taps: Any, strides: Any, padding: str) -> Rule:
    """Transposed convolutions: masked is what some masked position reaches."""

    def rule(mask: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
        axes = [transposed_axis(*a, padding) for a in zip(sizes, taps, strides, strict=True)]
        seen = np.ones((1, 1))
        for axis in axes:
            seen = np.kron(seen, axis.sum(0))
        return np.array([[any(one[row > 0]) for row in seen] for one in mask])

    return rule


def fan_in_concat_positions(axis: int) -> Callable[[Any], Any]:
    """Branches side by side along a spatial axis, with their masks."""

    def of(values: Any) -> Any:
        k = twins_branches.fan_in_concat_positions(axis)([k for k, _, _ in values])

        def mask(side: int) -> np.ndarray:
            parts = [value[side].reshape(-1, *value[0].sizes) for value in values]
            return np.concatenate(parts, 1 + axis).reshape(len(parts[0]), -1)

        return k, mask(1), mask(2)

    return of


def fan_in_concat_channels(values: Any) -> Any:
    """All channels in one: masked where all of them are."""
    k = twins_branches.fan_in_concat_channels()([k for k, _, _ in values])
    return k, *(np.all([value[i] for value in values], 0) for i in (1, 2))


def recurrent(of: Any, *args: Any, return_sequences: bool = False, **options: Any) -> Any:
    """Recurrent layers: of each pair of sequences, the times that are not masked are all."""
    states = twins_sequences.recurrent(of, *args, return_sequences=True, **options)
    both_ways = options.get("bidirectional", False)
    one_way = twins_sequences.recurrent(of, *args, return_sequences=True)

    def of_pair(k: Kernels, p: np.ndarray, q: np.ndarray) -> Kernels:
        """The kernels of one pair of sequences, of some times of both."""
        return dataclasses.replace(
            k, cov=k.cov[..., p[:, None], q], ntk=k.ntk[..., p[:, None], q],
            cov1=k.cov1[..., p[:, None], p], cov2=k.cov2[..., q[:, None], q],
        )  # fmt: skip

    def last(k: Kernels) -> Any:
        """NNGP and tangent kernel after the last times of both ways."""
        there = one_way(k)
        if not both_ways:
            return there.cov[0, 0, -1, -1], there.ntk[0, 0, -1, -1]
        back = of_pair(k, np.arange(k.cov.shape[-2])[::-1], np.arange(k.cov.shape[-1])[::-1])
        ways = there, one_way(back)
        return tuple(np.mean([getattr(w, n)[0, 0, -1, -1] for w in ways]) for n in ("cov", "ntk"))

    def twin(value: Any) -> Any:
        k, m1, m2 = value
        size = m1.shape[1] if return_sequences else 1
        made = {
            "cov": np.zeros((len(m1), len(m2), size, size)),
            "ntk": np.zeros((len(m1), len(m2), size, size)),
            "cov1": np.zeros((len(m1), size, size)),
            "cov2": np.zeros((len(m2), size, size)),
        }

        def fill(k: Kernels, p: np.ndarray, q: np.ndarray, cov: Any, ntk: Any) -> None:
            if not len(p) or not len(q):
                return
            if return_sequences:
                after = states(of_pair(k, p, q))
                cov[p[:, None], q], ntk[p[:, None], q] = after.cov[0, 0], after.ntk[0, 0]
            else:
                cov[0, 0], ntk[0, 0] = last(of_pair(k, p, q))

        def single(k: Kernels, cov: np.ndarray, one: np.ndarray, two: np.ndarray) -> Kernels:
            return dataclasses.replace(
                k, cov=cov[None, None], ntk=0 * cov[None, None], cov1=one[None], cov2=two[None]
            )

        times = [[np.flatnonzero(~one) for one in mask] for mask in (m1, m2)]
        for a, p in enumerate(times[0]):
            own = single(k, k.cov1[a], k.cov1[a], k.cov1[a])
            fill(own, p, p, made["cov1"][a], np.zeros((size, size)))
            for b, q in enumerate(times[1]):
                pair = single(k, k.cov[a, b], k.cov1[a], k.cov2[b])
                pair = dataclasses.replace(pair, ntk=k.ntk[a, b][None, None])
                fill(pair, p, q, made["cov"][a, b], made["ntk"][a, b])
        for b, q in enumerate(times[1]):
            own = single(k, k.cov2[b], k.cov2[b], k.cov2[b])
            fill(own, q, q, made["cov2"][b], np.zeros((size, size)))
        channels = (2 if both_ways else 1) * k.width
        sizes = k.sizes if return_sequences else ()
        after = dataclasses.replace(k, sizes=sizes, channels=channels, **made)
        rule = same if return_sequences else gone
        return after, rule(m1, k.sizes), rule(m2, k.sizes)

    return twin


def attention(weight: float, score: float) -> Callable[[Any], Any]:
    """Attention by softmax, of which masked keys get none; all keys masked, all alike."""

    def twin(value: Any) -> Any:
        k, m1, m2 = value

        def weights(cov: np.ndarray, mask: np.ndarray) -> np.ndarray:
            made = np.exp(score * (cov - cov.max(-1, keepdims=True))) * ~mask[:, None, :]
            return made / np.maximum(made.sum(-1, keepdims=True), 1e-300)

        w1, w2 = weights(k.cov1, m1), weights(k.cov2, m2)

        def across(cov: np.ndarray) -> np.ndarray:
            return weight * w1[:, None] @ cov @ np.swapaxes(w2, -1, -2)[None]

        cov = across(k.cov)
        after = dataclasses.replace(
            k, cov=cov, ntk=across(k.ntk) + 2 * cov,
            cov1=weight * w1 @ k.cov1 @ np.swapaxes(w1, -1, -2),
            cov2=weight * w2 @ k.cov2 @ np.swapaxes(w2, -1, -2),
        )  # fmt: skip
        return zeroed(after, m1, m2), m1, m2

    return twin
