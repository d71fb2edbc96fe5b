"""Twins of the layers of sequences and of attention (see `twins.py`)."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.contract.expectations import Expectations
from tests.contract.twins import Kernels, Twin, affine, serial


def distances(sizes: tuple[int, ...], norm: float) -> np.ndarray:
    """Sum over axes of |p - q|^norm, of all pairs of positions."""
    positions = list(np.ndindex(*sizes))
    return np.array(
        [[sum(abs(a - b) ** norm for a, b in zip(p, q, strict=True)) for q in positions]
         for p in positions]
    )  # fmt: skip


def embeddings(sizes: tuple[int, ...], norm: float, decay: Callable[[Any], Any] | None) -> Any:
    """Covariance of the embeddings of all pairs of positions."""
    apart = distances(sizes, norm)
    return (apart == 0).astype(float) if decay is None else decay(apart)


def mixed(k: Kernels, share: float, of_positions: np.ndarray, channels: int) -> Kernels:
    """Embeddings beside or on top of a share of the input; they are trained."""
    after = k.map_cov(lambda cov: share * cov + of_positions, channels=channels)
    return dataclasses.replace(after, ntk=share * k.ntk + of_positions)


def positional_encoding(
    W_std: float = 1.0, norm: float = 2.0, decay: Callable[[Any], Any] | None = None
) -> Twin:
    """PositionalEncoding."""
    return lambda k: mixed(k, 1.0, W_std**2 * embeddings(k.sizes, norm, decay), k.channels)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


MECHANISMS = {
    "SOFTMAX": softmax,
    "IDENTITY": lambda scores: scores,
    "ABS": np.abs,
    "RELU": lambda scores: np.maximum(scores, 0),
}


def attention(
    mechanism: str = "SOFTMAX",
    linear_scaling: bool = True,
    score_std: float = 1.0,
    value_std: float = 1.0,
    b_std: float | None = None,
    kind: str = "NONE",
    norm: float = 2.0,
    decay: Callable[[Any], Any] | None = None,
    pos_std: float = 1.0,
    pos_channels: int | None = None,
    in_values: bool = False,
) -> Twin:
    """GlobalSelfAttention; `score_std` and `value_std` are products of two standard deviations."""

    def twin(k: Kernels) -> Kernels:
        keys = k
        if kind != "NONE":
            width = k.channels if pos_channels is None else pos_channels
            total = k.channels + width
            share, rest = (1, 1) if kind == "SUM" else (k.channels / total, width / total)
            of_positions = rest * pos_std**2 * embeddings(k.sizes, norm, decay)
            keys = mixed(k, share, of_positions, total if kind == "CONCAT" else k.channels)
        values = keys if in_values else k
        if not linear_scaling:
            return products(keys, values, score_std * value_std, b_std)
        first, second = (MECHANISMS[mechanism](score_std * cov) for cov in (keys.cov1, keys.cov2))
        across = lambda cov: first[:, None] @ cov @ np.swapaxes(second, -1, -2)[None]  # noqa: E731
        after = dataclasses.replace(
            values,
            cov=across(values.cov),
            ntk=across(values.ntk),
            cov1=first @ values.cov1 @ np.swapaxes(first, -1, -2),
            cov2=second @ values.cov2 @ np.swapaxes(second, -1, -2),
        )
        weights = lambda k: affine(k, k, 1, value_std)  # noqa: E731
        return serial(weights, lambda k: affine(k, k, 1, 1.0, b_std))(after)

    return twin


def products(keys: Kernels, values: Kernels, std: float, b_std: float | None) -> Kernels:
    """Attention by Gaussian scores: four matrices of weights, each of which adds the kernel."""

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a * b).sum((-2, -1), keepdims=True)

    bias = (b_std or 0.0) ** 2
    covs = {
        name: std**2 * getattr(keys, name) * dot(getattr(keys, name), getattr(values, name))
        for name in ("cov", "cov1", "cov2")
    }
    of_keys = keys.ntk * dot(keys.cov, values.cov)
    of_scores = keys.cov * (dot(keys.ntk, values.cov) + dot(keys.cov, values.ntk))
    ntk = std**2 * (of_keys + of_scores) + 4 * covs["cov"]
    covs = {name: cov + bias for name, cov in covs.items()}
    return dataclasses.replace(values, **covs, ntk=ntk + bias, channels=keys.width)


def recurrent(
    of: Expectations,
    W_std: float = 1.0,
    U_std: float = 1.0,
    b_std: float = 0.0,
    h0_std: float = 0.0,
    return_sequences: bool = False,
    bidirectional: bool = False,
) -> Twin:
    """Recurrent: time after time, of both images."""

    def before(array: np.ndarray, t: int, u: int) -> Any:
        """Of the states before two times; a start is shared, and independent of later states."""
        return array[..., t - 1, u - 1] if t and u else h0_std**2 * (t == u)

    def sums(cov: np.ndarray) -> np.ndarray:
        """Variances of the arguments of the nonlinearity, of images with themselves."""
        state, made = np.full(len(cov), h0_std**2), []
        for t in range(cov.shape[-1]):
            made.append(W_std**2 * cov[:, t, t] + U_std**2 * state + b_std**2)
            state = of.value(made[-1], made[-1], made[-1])
        return np.stack(made, -1)

    def states(
        cov: np.ndarray, ntk: np.ndarray, v1: np.ndarray, v2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Kernels of the states; variances of both sides `(..., time)`."""
        made, tangents = np.zeros_like(cov), np.zeros_like(cov)
        for t, u in itertools.product(*map(range, cov.shape[-2:])):
            here = W_std**2 * cov[..., t, u] + U_std**2 * before(made, t, u) + b_std**2
            arguments = v1[..., t], here, v2[..., u]
            tangent = W_std**2 * ntk[..., t, u] + U_std**2 * before(tangents, t, u) + here
            made[..., t, u] = of.value(*arguments)
            tangents[..., t, u] = tangent * of.slope(*arguments)
        return made, tangents

    def one_way(k: Kernels) -> Kernels:
        v1, v2 = sums(k.cov1), sums(k.cov2)
        cov, ntk = states(k.cov, k.ntk, v1[:, None], v2[None])
        cov1, cov2 = (states(c, 0 * c, v, v)[0] for c, v in ((k.cov1, v1), (k.cov2, v2)))
        last = dataclasses.replace(k, cov=cov, ntk=ntk, cov1=cov1, cov2=cov2, channels=k.width)
        if return_sequences:
            return last
        return last.map_cov(lambda c: c[..., -1:, -1:], ntk=ntk[..., -1:, -1:], sizes=())

    def backwards(k: Kernels) -> Kernels:
        return k.map_cov(lambda c: c[..., ::-1, ::-1], ntk=k.ntk[..., ::-1, ::-1])

    def both(k: Kernels) -> Kernels:
        one, two = one_way(k), one_way(backwards(k))
        two = backwards(two)
        mean = {n: (getattr(one, n) + getattr(two, n)) / 2 for n in ("cov", "ntk", "cov1", "cov2")}
        return dataclasses.replace(one, **mean, channels=2 * k.width)

    return both if bidirectional else one_way
