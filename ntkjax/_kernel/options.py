"""Keywords of `kernel_fn` that change the network for one call: axes, and those of users' layers.

A layer of a user's own may take keywords: `def kernel_fn(k, scale=1.0, **kwargs)`. A call that
gives one, `kernel_fn(x1, x2, scale=2.0)`, is a call of the network with that value in its place. A
pair of arrays with an entry for each example belongs to the images instead, and is cut with them.
"""

from typing import Any

import jax
import numpy as np

from ntkjax._kernel.algebra.graph import Named, Parallel, Part, Serial
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.containers import Container
from ntkjax._kernel.operations.fixed_value import FixedValue
from ntkjax._kernel.operations.kernels import Custom


def with_axes(part: Part, container: Container, batch_axis: Any, channel_axis: Any) -> Part:
    """The network with given axes for the batch and the channels of its inputs."""
    if batch_axis is None and channel_axis is None:
        return part
    for name, axis in (("batch_axis", batch_axis), ("channel_axis", channel_axis)):
        if axis is not None and not isinstance(axis, (int, np.integer)):
            raise TypeError(
                f"kernel_fn: {name}={describe(axis)}, expected the number of an axis, such as -1."
            )
    first = _first_axes(part) or (0, -1)
    both = zip(first, (batch_axis, channel_axis), strict=True)
    axes: Any = tuple(own if given is None else int(given) for own, given in both)

    def named(container: Container) -> Part:
        if container is None:
            return Named((), "kernel_fn's axes", axes)
        return Parallel(tuple(map(named, container[1])))

    return Serial((named(container), part))


def _first_axes(part: Part) -> tuple[int, int | None] | None:
    """The axes that the first layer takes which names them."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, Named) and node.axes is not None:
            found.append(node.axes)
        return False

    jax.tree.leaves(part, is_leaf=visit)
    return found[0] if found else None


def options_of(part: Part) -> set[str]:
    """The keywords that users' layers take."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, Custom):
            names.update(getattr(node.kernel_fn, "options", ()))
        return False

    jax.tree.leaves(part, is_leaf=visit)
    return names


def with_options(
    part: Part, kwargs: dict[str, Any], x1: Any, options: set[str], taken: tuple[str, ...]
) -> tuple[Part, dict[str, Any]]:
    """The network with the keywords of users' layers in their places, and the other keywords.

    `options` are those that users' layers take, and `taken` those that layers of ours take, as
    arrays of the images.
    """
    options = options & set(kwargs)
    if not options:
        return part, kwargs
    # None is no value, as of any keyword.
    unset = {name for name in options - set(taken) if kwargs[name] is None and name != "pattern"}
    kwargs = {name: value for name, value in kwargs.items() if name not in unset}
    names = {name for name in options if kwargs.get(name) is not None}
    is_kernel = any(isinstance(leaf, Kernel) for leaf in _leaves(x1))
    of_images = {n for n in names if not is_kernel and (n in taken or _is_of_images(kwargs[n]))}
    values = {name: kwargs[name] for name in names - of_images}
    arrays = {n: v for n, v in values.items() if _has_arrays(v)}
    fixed = tuple((n, FixedValue.of(n, values[n])) for n in sorted({*values} - {*arrays}))

    def bound(node: Any) -> Any:
        if not isinstance(node, Custom):
            return node
        takes = getattr(node.kernel_fn, "options", ())
        return node.with_options(
            {n: v for n, v in arrays.items() if n in takes},
            tuple((n, v) for n, v in fixed if n in takes),
            tuple((n, _example(kwargs[n])) for n in sorted(of_images) if n in takes),
        )

    part = jax.tree.map(bound, part, is_leaf=lambda node: isinstance(node, Custom))
    return part, {name: value for name, value in kwargs.items() if name not in values}


def _leaves(x: Any) -> list[Any]:
    return jax.tree.leaves(x, is_leaf=lambda leaf: isinstance(leaf, Kernel))


def _has_arrays(value: Any) -> bool:
    return any(isinstance(leaf, (np.ndarray, jax.Array)) for leaf in jax.tree.leaves(value))


def _is_of_images(value: Any) -> bool:
    """Whether it is a pair of arrays, which may have an entry for each example."""
    is_pair = isinstance(value, tuple) and len(value) == 2
    return is_pair and all(isinstance(v, (np.ndarray, jax.Array)) and v.ndim for v in value)


def _example(value: Any) -> tuple[tuple[int, ...], str]:
    """Shape without examples, and dtype, of what the images bring."""
    array = value[0] if isinstance(value, tuple) else value
    array = np.asarray(array) if isinstance(array, (list, float, int)) else array
    return tuple(array.shape[1:]), np.dtype(array.dtype).name
