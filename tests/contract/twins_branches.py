"""Twins of the layers that join branches, and of `Dropout`."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tests.contract.twins import Kernels, Twin


def fan_in_prod() -> Twin:
    """The product of independent branches: E a b a' b' = E a a' E b b'."""

    def twin(values: list[Kernels]) -> Kernels:
        names = ("cov", "cov1", "cov2")
        products = {name: math.prod(getattr(k, name) for k in values) for name in names}
        tangents = [
            k.ntk * math.prod(other.cov for other in values if other is not k) for k in values
        ]
        return dataclasses.replace(values[0], ntk=sum(tangents), **products)

    return twin


def fan_in_concat_channels() -> Twin:
    """All channels in one: the mean over them."""

    def twin(values: list[Kernels]) -> Kernels:
        count = sum(k.channels for k in values)
        names = ("cov", "ntk", "cov1", "cov2")
        means = {name: sum(k.channels * getattr(k, name) for k in values) / count for name in names}
        return dataclasses.replace(values[0], channels=count, **means)

    return twin


def fan_in_concat_positions(axis: int) -> Twin:
    """Positions of all branches, put side by side along a spatial axis: blocks."""

    def twin(values: list[Kernels]) -> Kernels:
        sizes = list(values[0].sizes)
        sizes[axis] = sum(k.sizes[axis] for k in values)
        names = ("cov", "ntk", "cov1", "cov2")
        count = math.prod(sizes)
        made = {}
        for name in names:
            lead = getattr(values[0], name).shape[:-2]
            whole = np.zeros((*lead, count, count))
            offset = 0
            for k in values:
                places = _places(k.sizes, sizes, axis, offset)
                whole[..., places[:, None], places] = getattr(k, name)
                offset += k.sizes[axis]
            made[name] = whole
        return dataclasses.replace(values[0], sizes=tuple(sizes), **made)

    return twin


def _places(sizes: Sequence[int], whole: Sequence[int], axis: int, offset: int) -> np.ndarray:
    """Where the positions of a branch stand among those of all."""
    places = []
    for position in np.ndindex(*sizes):
        moved = list(position)
        moved[axis] += offset
        places.append(np.ravel_multi_index(moved, whole))
    return np.array(places)


def dropout(rate: float) -> Twin:
    """Dropout: an entry of the same image and position is E (mask / rate)^2 = 1 / rate times."""

    def twin(k: Kernels) -> Kernels:
        def own(cov: np.ndarray) -> np.ndarray:
            return cov * (1 + (1 / rate - 1) * np.eye(cov.shape[-1]))

        return dataclasses.replace(k, cov1=own(k.cov1), cov2=own(k.cov2))

    return twin


def with_channels(factor: int) -> Twin:
    """No layer: what came from a layer that was told `factor` times the width."""
    return lambda k: dataclasses.replace(k, channels=factor * k.width)
