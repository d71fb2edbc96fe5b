"""Kernels of one finite network: products of its outputs, and of its Jacobians."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._finite.example_axes import example_axes, spread, with_keywords
from ntkjax._finite.implementation import NtkImplementation, ntk_implementation
from ntkjax._finite.network_kernel import checked_output, network_kernel
from ntkjax._finite.networks import Batch, Network, floating_parameters, network_arguments
from ntkjax._finite.output_axes import output_axes
from ntkjax._kernel.config import config


def empirical_nngp_fn(
    f: Callable[..., Any],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
) -> Callable[..., Any]:
    """The NNGP of one finite network: the outer product of its outputs.

    `K[i, j] = f(x1)[i] . f(x2)[j] / n_outputs`: products of outputs, averaged over `trace_axes`.
    Its mean over random parameters is the NNGP of the architecture.

    Args:
      f: `f(params, x, **kwargs)`, which returns an array or a pytree of arrays; each array has a
        kernel.
      trace_axes: axes of the output that are averaged over, as a rule the channels.
      diagonal_axes: axes of the output of which the kernel keeps the diagonal.

    Returns:
      `nngp_fn(x1, x2, params, **kwargs)`. `x2=None` means `x1`. The kernel has, for each axis of
      `f(x)` in
      order: none for a traced axis, one for a diagonal axis, and two, of `x1` and of `x2`, for any
        other:
      `(n1, n2)` for outputs `(n, n_outputs)`. A keyword that is a pair gives one value to each of
      `x1`, `x2`. A key `rng` is split in two, one for each of `x1` and `x2`.

    Raises:
      ValueError: `trace_axes` or `diagonal_axes` name no axis of the output, share one, or name one
        along which `f(x1)` and `f(x2)` differ in length; the output is empty; inputs or parameters
        hold NaN or infinity, other than entries that a keyword `mask_constant` masks.
      TypeError: `f` is not callable, its output is not made of real floats, or what should be
        numbers is none.

    Source: Novak et al. 2022, arXiv 2206.08720; Lee et al. 2018, arXiv 1711.00165.

    Example:
      >>> import jax.numpy as jnp
      >>> nngp_fn = empirical_nngp_fn(lambda params, x: x @ params)
      >>> print(nngp_fn(jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.ones((2, 4))))
      [[2. 6.]]
    """
    _check_callable(f)

    def nngp_fn(x1: Any, x2: Any, params: Any, **kwargs: Any) -> Any:
        first, second, params = network_arguments(x1, x2, params, kwargs)

        def of_output(network: Network, _: Any) -> Array:
            shape1 = checked_output(network, params, first)
            shape2 = shape1 if second is None else checked_output(network, params, second)
            roles = output_axes(shape1, shape2, trace_axes, diagonal_axes)
            y1 = network(params, first)
            y2 = y1 if second is None else network(params, second)
            return roles.product(y1, y2)

        return _for_each_output(f, params, first, None, of_output)

    return nngp_fn


def empirical_ntk_fn(
    f: Callable[..., Any],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
    _j_rules: bool = True,
    _s_rules: bool = True,
    _fwd: bool | None = None,
) -> Callable[..., Any]:
    """The neural tangent kernel of one finite network, at its parameters.

    `T[i, j] = sum_p df(x1)[i]/dp . df(x2)[j]/dp / n_outputs`, averaged over `trace_axes`. With wide
    layers it approaches the exact kernel at the rate 1/sqrt(width).

    Call the returned function under `jax.jit` where it is called often. It takes no more memory
    than `ntkjax.config.memory_budget`, besides inputs and result, or than one backward pass of one
    example (of one batch, without `vmap_axes`) if that is more.

    Args:
      f: `f(params, x, **kwargs)`, which returns an array or a pytree of arrays; each array has a
        kernel. Derivatives are taken with respect to the leaves of `params` that are floats.
      trace_axes: axes of the output that are averaged over, as a rule the channels.
      diagonal_axes: axes of the output of which the kernel keeps the diagonal.
      vmap_axes: an axis along which the examples of `x` and of `f(x)` are stacked, or a triple
        `(axes of x, axes of f(x), dict of axes of keywords)`; axes may be trees like `x` and
        `f(x)`, with None for what examples share. It states that `f` treats each example by itself
        (no batch normalisation); gradients then cost one example each, not one batch. `f` is
        called with batches of one.
      implementation: `NtkImplementation` or its number: 0 chooses (the default), 1 multiplies
        Jacobians, 2 takes NTK-vector products, 3 takes gradients of weights apart.
      _j_rules: of no effect, for compatibility.
      _s_rules: of no effect, for compatibility.
      _fwd: of no effect, for compatibility.

    Returns:
      `ntk_fn(x1, x2, params, **kwargs)`. `x2=None` means `x1`. The kernel has, for each axis of
      `f(x)` in
      order: none for a traced axis, one for a diagonal axis, and two, of `x1` and of `x2`, for any
        other:
      `(n1, n2)` for outputs `(n, n_outputs)`. A keyword that is a pair gives one value to each of
      `x1`, `x2`. A key `rng` is split in two, one for each of `x1` and `x2`.

    Raises:
      ValueError: `trace_axes` or `diagonal_axes` name no axis of the output, share an axis, or name
        one along which `f(x1)` and `f(x2)` differ in length; `vmap_axes` are no trees like inputs
        and outputs, name axes that there are not, or axes of different lengths; `implementation` is
        unknown; the output is empty; inputs or parameters hold NaN or infinity, other than entries
        that a keyword `mask_constant` masks.
      TypeError: `f` is not callable, its output is not made of real floats, `params` holds no
        floats, or what should be numbers is none.

    Source: Jacot et al. 2018, arXiv 1806.07572, section 4; Novak et al. 2022, arXiv 2206.08720,
      section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> ntk_fn = empirical_ntk_fn(lambda params, x: x @ params, vmap_axes=0)
      >>> print(ntk_fn(jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.ones((2, 4))))
      [[1. 3.]]
    """
    del _j_rules, _s_rules, _fwd
    _check_callable(f)
    examples = example_axes(vmap_axes)
    chosen = ntk_implementation(implementation)

    def ntk_fn(x1: Any, x2: Any, params: Any, **kwargs: Any) -> Any:
        first, second, params = network_arguments(x1, x2, params, kwargs)
        floating, restore = floating_parameters(params)
        axes = None if examples is None else with_keywords(examples, first.keywords)

        def of_output(network: Network, axis: int | None) -> Array:
            return network_kernel(
                lambda leaves, batch: network(restore(leaves), batch),
                floating,
                first,
                second,
                trace_axes,
                diagonal_axes,
                axes,
                axis,
                chosen,
                config.budget(),
            )

        outputs = None if axes is None else axes.outputs
        return _for_each_output(f, params, first, outputs, of_output)

    return ntk_fn


def _check_callable(f: Any) -> None:
    if not callable(f):
        raise TypeError(
            f"f must be callable, got {type(f).__name__}: pass apply_fn, the second value of"
            " stax.serial"
        )


def _for_each_output(
    f: Callable[..., Any],
    params: Any,
    batch: Batch,
    axes: Any,
    kernel: Callable[[Network, int | None], Array],
) -> Any:
    """`kernel` of each array that `f` returns and its axis of examples, in the same pytree."""
    outputs = jax.eval_shape(lambda p: f(p, batch.x, **batch.keywords), params)
    tree = jax.tree.structure(outputs)

    def network(place: int) -> Network:
        return lambda p, b: jnp.asarray(jax.tree.leaves(f(p, b.x, **b.keywords))[place])

    along = spread("f(x)", axes, outputs)
    return jax.tree.unflatten(tree, [kernel(network(i), axis) for i, axis in enumerate(along)])
