"""Combinators: serial and parallel."""

from typing import Any

import jax
from jax import Array

from ntkjax._kernel.algebra.graph import Parallel, Serial
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._layers.layer import Layer, label_of, part_of


def _split(rng: Array | None, count: int) -> list[Any]:
    """A random key for each of several layers."""
    return [None] * count if rng is None else list(jax.random.split(rng, max(count, 1)))[:count]


def _check_params(combinator: str, params: Any, count: int) -> None:
    if not isinstance(params, (list, tuple)) or len(params) != count:
        came = f"{len(params)}" if isinstance(params, (list, tuple)) else type(params).__name__
        raise ValueError(
            f"{combinator}: has {count} layers and takes a list with the parameters of each, but "
            f"{came} came; pass what its init_fn returned, after the shape."
        )


def serial(*layers: Any) -> Layer:
    r"""Compose layers one after the other.

    .. math::
        f = f_L \circ \dots \circ f_1, \qquad K = K_L \circ \dots \circ K_1.

    Args:
      *layers: triples `(init_fn, apply_fn, kernel_fn)`, ours or your own; a triple of your own has
        a `kernel_fn` that takes a `Kernel` and returns one.

    Returns:
      `(init_fn, apply_fn, kernel_fn)` of the whole network.

    Raises:
      TypeError: a layer is no triple of functions.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> network = stax.serial(stax.Dense(512), stax.Relu(), stax.Dense(1))
      >>> network
      serial(Dense(512, W_std=1), Relu(), Dense(1, W_std=1))
      >>> network.kernel_fn(jnp.ones((2, 3)), jnp.ones((4, 3)), ("nngp", "ntk")).ntk.shape
      (2, 4)
    """
    parts = tuple(part_of(layer, "serial", i) for i, layer in enumerate(layers))

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, list[Any]]:
        params = []
        for layer in layers:
            # One after the other, as in neural-tangents: the same key draws the same parameters.
            rng, key = _split(rng, 2)
            input_shape, param = layer[0](key, input_shape)
            params.append(param)
        return input_shape, params

    def apply_fn(params: Any, inputs: Any, **kwargs: Any) -> Any:
        keys = _split(kwargs.pop("rng", None), len(layers))
        _check_params("serial", params, len(layers))
        for layer, param, key in zip(layers, params, keys, strict=True):
            inputs = layer[1](param, inputs, rng=key, **kwargs)
        return inputs

    label = f"serial({', '.join(map(label_of, layers))})"
    return Layer.named("serial", init_fn, apply_fn, KernelFn(Serial(parts), label))


def parallel(*layers: Any) -> Layer:
    r"""Apply layers side by side, each to its own of a list of inputs.

    .. math::
        (x_1, \dots, x_m) \mapsto (f_1(x_1), \dots, f_m(x_m)).

    Args:
      *layers: triples, one for each input.

    Returns:
      `(init_fn, apply_fn, kernel_fn)` which take and return lists, or tuples of tuples. Between
      `FanOut` and `FanInSum` it makes branches; at either end of a network, several inputs or
      outputs.

    Raises:
      TypeError: a layer is no triple of functions.
      ValueError: when called, there are more or fewer inputs than layers.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(
      ...     stax.parallel(stax.Dense(8), stax.Dense(8)), stax.FanInSum())
      >>> x = [jnp.ones((2, 3)), jnp.ones((2, 5))]
      >>> float(kernel_fn(x, get="nngp")[0, 0])
      2.0
    """
    parts = tuple(part_of(layer, "parallel", i) for i, layer in enumerate(layers))

    def check(what: str, items: Any) -> None:
        is_list = isinstance(items, (list, tuple)) and not any(isinstance(i, int) for i in items)
        if not is_list or len(items) != len(layers):
            came = f"{len(items)}" if is_list else f"a single one ({type(items).__name__})"
            raise ValueError(
                f"parallel: has {len(layers)} branches and takes a list of {len(layers)} {what}, "
                f"but {came} came; put FanOut({len(layers)}) before it, or pass one for each."
            )

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, Any]:
        check("input shapes", input_shape)
        keys = _split(rng, len(layers))
        pairs = [layer[0](key, s) for layer, key, s in zip(layers, keys, input_shape, strict=True)]
        return tuple(shape for shape, _ in pairs), tuple(param for _, param in pairs)

    def apply_fn(params: Any, inputs: Any, **kwargs: Any) -> Any:
        check("inputs", inputs)
        _check_params("parallel", params, len(layers))
        keys = _split(kwargs.pop("rng", None), len(layers))
        kind = tuple if isinstance(inputs, tuple) else list
        return kind(
            layer[1](param, x, rng=key, **kwargs)
            for layer, param, x, key in zip(layers, params, inputs, keys, strict=True)
        )

    label = f"parallel({', '.join(map(label_of, layers))})"
    return Layer.named("parallel", init_fn, apply_fn, KernelFn(Parallel(parts), label))
