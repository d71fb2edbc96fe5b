"""`batch`: a kernel function of more pairs than fit into memory at once."""

import contextlib
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.config import config
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._scale.blocks import Blocks
from ntkjax._scale.examples import (
    as_tree,
    checked_size,
    count,
    cut,
    cut_kernel,
    cut_keywords,
    parts_of,
)
from ntkjax._scale.progress import progress

#: Examples in a batch where the caller leaves it open and results go to the host.
_SIZE = 2048


def batch(
    kernel_fn: Callable[..., Any],
    batch_size: int = 0,
    device_count: int = -1,
    store_on_device: bool = True,
) -> Callable[..., Any]:
    r"""The same kernel function, computed in batches.

    .. math::
        K = (K[X_i, X_j'])_{ij}, \qquad X = \bigcup_i X_i, \quad X' = \bigcup_j X_j'.

    It may be any function of pairs: a `kernel_fn` of `ntkjax.stax`, one of a user's own, or an
    empirical one. A `kernel_fn` of ours cuts its work into tiles by itself, within
    `ntkjax.config.memory_budget` and on all devices; it is worth batching to have the result on the
    host, where a matrix fits that is larger than the device's memory.

    Args:
      kernel_fn: `kernel_fn(x1, x2, *args, **kwargs)`, which returns a tree of arrays (n1, n2, ...)
        or of `Kernel`s. Examples are along the first axis of its inputs.
      batch_size: the largest number of examples of each batch; it need not divide anything. 0 for
        all at once, or for a size that is chosen where results go to the host.
      device_count: number of devices that share the batches; -1 for all local ones, 0 for one.
      store_on_device: False to have the results as NumPy arrays on the host.

    Returns:
      `batched(x1, x2=None, *args, **kwargs)`, which returns what `kernel_fn` returns. `x1` and `x2`
      may be arrays, trees of them, or `x1` a `Kernel`. Keywords that are pairs of arrays, one of n1
      and one of n2 entries along the first axis (such as `pattern`), are cut with their batches.

    Raises:
      TypeError: `kernel_fn` is not callable.
      ValueError: a number is out of its range, there are fewer devices, or inputs have no examples.

    Source: Novak et al. 2020, arXiv 1912.02803, section 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Relu(), stax.Dense(1))
      >>> batched = batch(kernel_fn, batch_size=3, store_on_device=False)
      >>> kernel = batched(jnp.ones((7, 4)), jnp.ones((5, 4)), "ntk")
      >>> type(kernel).__name__, kernel.shape
      ('ndarray', (7, 5))
    """
    if not callable(kernel_fn):
        raise TypeError(
            f"batch: kernel_fn must be callable, got {describe(kernel_fn)}; pass the third value of"
            " stax.serial, or an empirical kernel function."
        )
    size = checked_size("batch_size", batch_size, 0, "0 takes all examples at once")
    number = checked_size("device_count", device_count, -1, "-1 takes all devices, 0 one")
    is_ours = isinstance(kernel_fn, KernelFn)

    @functools.wraps(kernel_fn if not is_ours else KernelFn.__call__)
    def batched(x1: Any, x2: Any = None, *args: Any, **kwargs: Any) -> Any:
        devices = _devices(number)
        with _on(devices) if is_ours else contextlib.nullcontext():
            if (is_ours and store_on_device) or (not size and store_on_device):
                return kernel_fn(x1, x2, *args, **kwargs)
            few = devices[:1] if is_ours else devices
            how = _How(size or _SIZE, few, not store_on_device, is_ours)
            return _in_batches(kernel_fn, how, x1, x2, args, kwargs)

    return batched


def _devices(number: int) -> list[Any]:
    """The devices that share the batches."""
    devices = list(config.local_devices())
    if number > len(devices):
        raise ValueError(
            f"batch: device_count={number}, but there are {len(devices)} devices; pass -1 for all."
        )
    return devices if number < 0 else devices[: max(number, 1)]


def _on(devices: list[Any]) -> contextlib.AbstractContextManager[None]:
    """Kernel functions of ours on these devices."""
    return config.set(devices=tuple(devices))


class _How(NamedTuple):
    """How batches are made: their size, on which devices, where to, and by whose function."""

    size: int
    devices: list[Any]
    on_host: bool
    is_ours: bool


def _in_batches(
    kernel_fn: Callable[..., Any],
    how: _How,
    x1: Any,
    x2: Any,
    args: tuple[Any, ...],
    keywords: dict[str, Any],
) -> Any:
    """The kernel of all pairs, batch by batch, as many at a time as there are devices."""
    x1, x2 = as_tree(x1), as_tree(x2)
    kernels = [leaf for leaf in jax.tree.leaves(x1, is_leaf=_is_kernel) if _is_kernel(leaf)]
    if kernels:
        first = kernels[0]
        n1, n2 = (shape[first.batch_axis] for shape in (first.shape1, first.shape2))
        is_symmetric = first.cov2 is None and n1 == n2
    else:
        is_symmetric = x2 is None or not jax.tree.leaves(x2)
        n1 = count("x1", x1)
        n2 = n1 if is_symmetric else count("x2", x2)
    rows, columns = parts_of(n1, how.size), parts_of(n2, how.size)
    blocks, devices = Blocks(rows, columns, how.on_host), how.devices
    # Of a function that is not ours, it is not known which axes of its result pair up.
    mirrors = is_symmetric and how.is_ours
    equal = bool(keywords.get("diagonal_spatial"))

    def call(i: int, j: int, device: Any) -> Any:
        row, column = rows[i], columns[j]
        more = cut_keywords(keywords, (n1, n2), row, column)
        if kernels:
            one = jax.tree.map(lambda k: cut_kernel(k, row, column), x1, is_leaf=_is_kernel)
            inputs: tuple[Any, Any] = one, x2
        elif is_symmetric:
            inputs = cut(x1, row), None if i == j else cut(x1, column)
        else:
            inputs = cut(x1, row), cut(x2, column)
        given = inputs, args, more
        if len(devices) > 1:
            given = jax.tree.map(lambda a: _put(a, device), given)
        (first, second), others, more = given
        return kernel_fn(first, second, *others, **more)

    waiting: deque[tuple[int, int, Any]] = deque()
    places = [
        (i, j) for i in range(len(rows)) for j in range(len(columns)) if i <= j or not mirrors
    ]

    def gather() -> None:
        """Add the result that was begun first."""
        i, j, result = waiting.popleft()
        if len(devices) > 1:
            result = jax.tree.map(lambda a: _put(a, devices[0]), result)
        if mirrors:
            blocks.add_mirrored(i, j, result, equal)
        else:
            blocks.add(i, j, result)

    for k, (i, j) in enumerate(progress(places, "batches")):
        waiting.append((i, j, call(i, j, devices[k % len(devices)])))
        # Devices work while the next batch is handed out.
        if len(waiting) >= len(devices):
            gather()
    while waiting:
        gather()
    return blocks.total(is_symmetric)


def _is_kernel(value: Any) -> bool:
    return isinstance(value, Kernel)


def _put(value: Any, device: Any) -> Any:
    """An array on a device; anything else as it is."""
    is_array = isinstance(value, (jax.Array, np.ndarray))
    return jax.device_put(value, device) if is_array else value
