"""The answer of a prediction: a Gaussian, or one for each kernel that was asked for."""

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array


class Gaussian(NamedTuple):
    """A Gaussian over the outputs of a network.

    Args:
      mean: expected outputs, laid out as the targets.
      covariance: covariance of the outputs, laid out as the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> Gaussian(jnp.zeros((4, 3)), jnp.eye(4)).covariance.shape
      (4, 4)
    """

    mean: Array
    covariance: Array


@functools.cache
def _named_tuple(names: tuple[str, ...]) -> Any:
    # One class for each set of names, so that two answers are the same pytree.
    return collections.namedtuple("Gaussians", names)


def requested_names(get: object, known: tuple[str, ...], default: tuple[str, ...]) -> tuple:
    """The kernels that `get` names, in order; raises ValueError or TypeError on any other value."""
    if get is None:
        return default
    names = (get,) if isinstance(get, str) else get
    if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
        raise TypeError(
            f"get must be a string, a tuple of strings or None, got {get!r}: pass one of {known} or"
            " a tuple of them"
        )
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(
            f"get must name one or more of {known}, each once, got {get!r}: pass get={default[0]!r}"
            f" or get={default}"
        )
    return tuple(names)


def answer(get: object, names: tuple[str, ...], predict: Callable[[str], Any]) -> Any:
    """`predict(name)` alone when `get` is a string, else a named tuple over all names."""
    if isinstance(get, str):
        return predict(get)
    return _named_tuple(names)(*[predict(name) for name in names])
