"""Products of the NTK of a finite network with vectors, without the NTK."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._finite.checks import checked_arrays
from ntkjax._finite.networks import floating_parameters, network_arguments
from ntkjax._kernel.arrays import describe, real_array
from ntkjax._kernel.devices import on_one_device


def empirical_ntk_vp_fn(
    f: Callable[..., Any], x1: Any, x2: Any, params: Any, **apply_fn_kwargs: Any
) -> Callable[[Any], Any]:
    r"""Products of the NTK of one finite network with vectors of outputs.

    .. math::
        v \mapsto \Theta(x_1, x_2)\, v
        = \partial_\theta f(x_1) \left(\partial_\theta f(x_2)^\top v\right),

    by reverse and then forward mode, in the time and memory of a few calls of `f`. The kernel is
    that of `empirical_ntk_fn` with `trace_axes=()`: between all outputs.

    Args:
      f: `f(params, x, **kwargs)`, which returns an array or a pytree of arrays.
      x1: inputs of the outputs that come out.
      x2: inputs of the outputs that go in; None for `x1`.
      params: the parameters, a pytree; leaves that are no floats stay as they are.
      **apply_fn_kwargs: passed to `f`. A pair gives one value to each of `x1`, `x2`; a key `rng` is
        split in two.

    Returns:
      `ntk_vp_fn(cotangents)`, of the structure and shapes of `f(params, x2)`, which returns the
      product, of the structure and shapes of `f(params, x1)`. It may be compiled.

    Raises:
      TypeError: `f` is not callable, `params` holds no floats, or what should be numbers is none.
      ValueError: inputs or parameters hold NaN or infinity; when `ntk_vp_fn` is called,
        `cotangents` do, or are not like `f(params, x2)`.

    Source: Novak et al. 2022, arXiv 2206.08720, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> f = lambda params, x: x @ params
      >>> x1, x2 = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0], [0.0, 1.0]])
      >>> ntk_vp_fn = empirical_ntk_vp_fn(f, x1, x2, jnp.ones((2, 1)))
      >>> print(ntk_vp_fn(jnp.array([[1.0], [10.0]])))  # 3 * 1 + 2 * 10
      [[23.]]
    """
    if not callable(f):
        raise TypeError(
            f"empirical_ntk_vp_fn: f must be callable, got {describe(f)}: pass the apply_fn of a "
            "network"
        )
    first, second, params = network_arguments(x1, x2, params, apply_fn_kwargs)
    second = first if second is None else second
    leaves, restore = floating_parameters(params)

    def outputs(batch: Any) -> Callable[[Any], Any]:
        return lambda p: f(restore(p), batch.x, **batch.keywords)

    def ntk_vp_fn(cotangents: Any) -> Any:
        made, pull = jax.vjp(outputs(second), leaves)
        _, cotangents = on_one_device(leaves, _like(cotangents, made))
        (gradient,) = pull(cotangents)
        return jax.jvp(outputs(first), (leaves,), (gradient,))[1]

    return ntk_vp_fn


def _like(cotangents: Any, outputs: Any) -> Any:
    """Cotangents in the dtypes of outputs; raises where they are shaped otherwise."""
    trees = jax.tree.structure(cotangents), jax.tree.structure(outputs)
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(t)] for t in (cotangents, outputs)]
    if trees[0] != trees[1] or shapes[0] != shapes[1]:
        raise ValueError(
            f"empirical_ntk_vp_fn: cotangents have the structure {trees[0]} and shapes {shapes[0]},"
            f" but f(params, x2) has {trees[1]} and {shapes[1]}: pass one number for each output"
        )
    cotangents = checked_arrays("empirical_ntk_vp_fn: cotangents", cotangents)

    def like(path: Any, cotangent: Any, output: Any) -> Any:
        name = f"empirical_ntk_vp_fn: cotangents{jax.tree_util.keystr(path)}"
        return jnp.asarray(real_array(name, cotangent), output.dtype)

    return jax.tree_util.tree_map_with_path(like, cotangents, outputs)
