"""`repeat`: many copies of a layer, whose parameters lie one behind the other in one array each."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.graph import Repeat
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._layers.checks import check_degree
from ntkjax._layers.combinators import serial
from ntkjax._layers.finite import UNKNOWN
from ntkjax._layers.layer import Layer, label_of, part_of

#: No network is that deep.
_MOST = 10**9
#: For an axis of unknown size: what changes this one changes any.
_SOME_SIZE = 1009


class Unrolled(NamedTuple):
    """The parameters of copies that are not alike, since the first one changes the shape."""

    layers: list[Any]


def repeat(layer: Any, n: int) -> Layer:
    r"""Compose n copies of a layer, each with weights of its own.

    .. math::
        f = f^{(n)} \circ \dots \circ f^{(1)}.

    Args:
      layer: a triple.
      n: how many copies; 0 for none, which passes its input on.

    Returns:
      `(init_fn, apply_fn, kernel_fn)` with the kernel of `serial(layer, ..., layer)`. Where the
      layer keeps the shape of its input, the parameters are those of the layer with an axis of n
      copies in front, which `apply_fn` takes in a compiled loop. Else they are a list for each.

    Raises:
      ValueError: n is a negative number or no integer.
      TypeError: the layer is no triple of functions.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> block = stax.serial(stax.Dense(8, W_std=2**0.5), stax.Relu())
      >>> init_fn, _, kernel_fn = stax.repeat(block, 50)
      >>> round(float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0]), 4)
      1.0
      >>> jax.tree.map(jnp.shape, init_fn(jax.random.key(0), (1, 8))[1])
      [((50, 8, 8), None), ()]
    """
    count = check_degree("repeat", "n", n, _MOST)
    part = part_of(layer, "repeat", 0)
    copies = serial(*[layer] * count)
    label = f"repeat({label_of(layer)}, {count})"

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, Any]:
        if not _keeps_shape(layer, input_shape):
            shape, params = copies.init_fn(rng, input_shape)
            return shape, Unrolled(params)

        return input_shape, drawn(_as_tuples(input_shape))(rng)

    @functools.lru_cache(maxsize=64)
    def drawn(input_shape: Any) -> Any:
        """From a key to the parameters of all copies: one program, compiled at the first draw."""

        def one(key: Array, _: None) -> tuple[Array, Any]:
            key, own = jax.random.split(key)
            return key, layer[0](own, input_shape)[1]

        return jax.jit(lambda rng: lax.scan(one, rng, None, count)[1])

    def apply_fn(params: Any, inputs: Any, **kwargs: Any) -> Any:
        if isinstance(params, Unrolled):
            return copies.apply_fn(params.layers, inputs, **kwargs)
        rng = kwargs.pop("rng", None)
        keys = None if rng is None else jax.random.split(rng, max(count, 1))[:count]
        constant = kwargs.pop("mask_constant", None)
        if count == 0:
            return inputs

        def one(x: Any, given: Any) -> tuple[Any, None]:
            param, key = given
            return layer[1](param, x, rng=key, **kwargs), None

        first = functools.partial(jax.tree.map, lambda a: a[0])
        rest = functools.partial(jax.tree.map, lambda a: a[1:])
        # The first copy tells the dtype, and masks, that the others keep.
        more = {} if constant is None else {"mask_constant": constant}
        key = None if keys is None else keys[0]
        outputs = layer[1](first(params), inputs, rng=key, **kwargs, **more)
        others = rest(params), None if keys is None else keys[1:]
        return lax.scan(one, outputs, others, count - 1)[0]

    return Layer.named("repeat", init_fn, apply_fn, KernelFn(Repeat((part,) * count), label))


def shapes_of_copies(params: Any, count: int) -> list[Any]:
    """The shapes of the parameters of each copy, from those of `repeat(layer, count)`."""
    if isinstance(params, Unrolled):
        return params.layers

    def of_one(a: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)

    return [jax.tree.map(of_one, params)] * count


def _as_tuples(shape: Any) -> Any:
    """A shape, or nested lists of them, as tuples throughout."""
    return tuple(map(_as_tuples, shape)) if isinstance(shape, (tuple, list)) else shape


def _with_some_size(shape: Any) -> Any:
    """A shape, or nested lists of them, with a size for each axis whose size is not known."""
    if isinstance(shape, (tuple, list)):
        return type(shape)(map(_with_some_size, shape))
    return _SOME_SIZE if shape == UNKNOWN else shape


def _keeps_shape(layer: Any, input_shape: Any) -> bool:
    """Whether a layer's outputs have the shape of its inputs."""
    input_shape, shape = _with_some_size(input_shape), []

    def init(key: Array) -> Any:
        shape.append(layer[0](key, input_shape)[0])
        return jnp.zeros(())

    jax.eval_shape(init, jax.random.key(0))
    return shape[0] == input_shape
