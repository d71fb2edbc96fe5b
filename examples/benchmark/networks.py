"""The networks that are measured, in the part of `stax` that both libraries share.

Every function takes the `stax` module of either library. Widths do not matter to the kernels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

WIDTH = 64
W_STD, B_STD = 2**0.5, 0.1
SAME = {"padding": "SAME", "W_std": W_STD, "b_std": B_STD}


class MissingLayerError(Exception):
    """This version of the library does not have a layer that the network needs."""


def build(stax: Any, name: str, options: Mapping[str, Any]) -> Any:
    return NETWORKS[name](stax, **options)


def convolutional(stax: Any, depth: int, pooling: str, **stds: Any) -> Any:
    """`depth` convolutions; `pooling` is GlobalAvgPool or Flatten; `stds` are W_std and b_std."""
    layers = convolutions(stax, depth, **stds)
    return stax.serial(*layers, getattr(stax, pooling)(), dense(stax, **stds))


def myrtle5(stax: Any) -> Any:
    """Shankar et al. 2020, arXiv 2003.02237: three convolutions, five poolings."""

    def half() -> Any:
        return stax.AvgPool((2, 2), strides=(2, 2))

    return stax.serial(
        *convolutions(stax, 1), half(),
        *convolutions(stax, 1), half(),
        *convolutions(stax, 1), half(), half(), half(),
        stax.Flatten(), dense(stax),
    )  # fmt: skip


def pooled(stax: Any, depth: int) -> Any:
    """Overlapping windows and Flatten: only pairs of nearby positions matter."""
    return stax.serial(
        *convolutions(stax, depth), stax.AvgPool((2, 2)), stax.Flatten(), dense(stax)
    )


def halved(stax: Any, depth: int) -> Any:
    """`depth` convolutions, each with a pool that halves the image: the ConvNet of distillation."""
    layers = []
    for _ in range(depth):
        layers += [*convolutions(stax, 1), stax.AvgPool((2, 2), strides=(2, 2))]
    return stax.serial(*layers, stax.Flatten(), dense(stax))


def flat(stax: Any, depth: int) -> Any:
    """A fully connected network of images."""
    return stax.serial(stax.Flatten(), fully_connected(stax, depth, "Relu"))


def wide_resnet(stax: Any, block_size: int, k: int) -> Any:
    """The network of the README of neural_tangents, with its standard deviations."""

    def block(channels: int, strides: tuple[int, int], first: bool) -> Any:
        main = stax.serial(
            stax.Relu(), stax.Conv(channels, (3, 3), strides, padding="SAME"),
            stax.Relu(), stax.Conv(channels, (3, 3), padding="SAME"),
        )  # fmt: skip
        shortcut = (
            stax.Conv(channels, (3, 3), strides, padding="SAME") if first else stax.Identity()
        )
        return stax.serial(stax.FanOut(2), stax.parallel(main, shortcut), stax.FanInSum())

    def group(channels: int, strides: tuple[int, int]) -> Any:
        others = [block(channels, (1, 1), first=False) for _ in range(block_size - 1)]
        return stax.serial(block(channels, strides, first=True), *others)

    return stax.serial(
        stax.Conv(16, (3, 3), padding="SAME"),
        group(16 * k, (1, 1)), group(32 * k, (2, 2)), group(64 * k, (2, 2)),
        stax.AvgPool((8, 8)), stax.Flatten(), stax.Dense(10, 1.0, 0.0),
    )  # fmt: skip


def fully_connected(stax: Any, depth: int, activation: str) -> Any:
    """`depth` hidden layers."""
    layers = []
    for _ in range(depth):
        layers += [dense(stax), nonlinearity(stax, activation)]
    return stax.serial(*layers, dense(stax))


def one_activation(stax: Any, activation: str, arguments: Sequence[Any]) -> Any:
    """One hidden layer; ways to give a function are measured with one that is easy to give."""
    if activation == "Elementwise":
        arguments = (jax.scipy.special.erf, erf_dual)
    elif activation == "ElementwiseNumerical":
        arguments = (jnp.tanh, 25)
    if not hasattr(stax, activation):
        raise MissingLayerError(f"no stax.{activation} in this version")
    return stax.serial(dense(stax), getattr(stax, activation)(*arguments), dense(stax))


def erf_dual(cov12: Any, var1: Any, var2: Any) -> Any:
    """Williams 1997, as a user would write it."""
    return 2 / jnp.pi * jnp.arcsin(2 * cov12 / jnp.sqrt((1 + 2 * var1) * (1 + 2 * var2)))


def convolutions(stax: Any, depth: int, **stds: Any) -> list[Any]:
    return [layer for _ in range(depth) for layer in (conv(stax, **stds), stax.Relu())]


def conv(stax: Any, **stds: Any) -> Any:
    return stax.Conv(WIDTH, (3, 3), **(SAME | stds))


def dense(stax: Any, **stds: Any) -> Any:
    return stax.Dense(WIDTH, **({"W_std": W_STD, "b_std": B_STD} | stds))


def nonlinearity(stax: Any, name: str) -> Any:
    if not hasattr(stax, name):
        raise MissingLayerError(f"no stax.{name} in this version")
    return getattr(stax, name)()


NETWORKS = {
    "activation": one_activation,
    "convolutional": convolutional,
    "flat": flat,
    "fully_connected": fully_connected,
    "halved": halved,
    "myrtle5": myrtle5,
    "pooled": pooled,
    "wide_resnet": wide_resnet,
}
