"""Recurrent: one hidden layer whose weights are shared over time."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax, random

from ntkjax._kernel.algebra.graph import Copies, Join, Named, Parallel, Part
from ntkjax._kernel.algebra.shared import squared
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.operations.combine import ChannelConcat
from ntkjax._kernel.operations.pointwise import Dual
from ntkjax._kernel.operations.recurrent import Recurrence
from ntkjax._layers.checks import Shape, check_count, check_flag, check_number, show
from ntkjax._layers.finite import check_channels, known_shape, one_shape, with_weights
from ntkjax._layers.layer import Layer, label_of, make_layer

Scalar = float | Array

_NAME = "Recurrent"


def Recurrent(
    out_dim: int,
    activation: Layer,
    W_std: Scalar = 1.0,
    U_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    h0_std: Scalar = 0.0,
    return_sequences: bool = False,
    bidirectional: bool = False,
) -> Layer:
    r"""Recurrent layer: the same weights at every time, along the one spatial axis of its input.

    .. math::
        h_t = \phi\!\left(\frac{\sigma_w}{\sqrt{N}} W x_t + \frac{\sigma_u}{\sqrt{n}} U h_{t-1}
        + \sigma_b b\right), \qquad h_0 = \sigma_h \varepsilon,

    with standard normal :math:`W, U, b, \varepsilon`, all of them trained. With :math:`u_t` the
    argument of :math:`\phi`, the kernels of u and h are, at times t of x and t' of x',

    .. math::
        K_u[t, t'] &= \sigma_w^2 K_x[t, t'] + \sigma_u^2 K_h[t-1, t'-1] + \sigma_b^2, \qquad
        K_h[t, t'] = E\, \phi(u_t) \phi(u'_{t'}), \\
        \Theta_u[t, t'] &= \sigma_w^2 \Theta_x[t, t'] + \sigma_u^2 \Theta_h[t-1, t'-1]
        + K_u[t, t'], \qquad
        \Theta_h[t, t'] = \Theta_u[t, t']\, E\, \phi'(u_t) \phi'(u'_{t'}),

    and :math:`K_h[0, 0] = \Theta_h[0, 0] = \sigma_h^2`, :math:`K_h[0, t] = \Theta_h[0, t] = 0`.

    A masked time leaves the state as it is, so that sequences may differ in length: the last state
    is that after the last time that is not masked. Where times may be masked, kernels of all pairs
    of times are stored.

    Args:
      out_dim: number of hidden channels n of the finite network, in each direction.
      activation: :math:`\phi`, a layer such as `stax.Erf()`.
      W_std: :math:`\sigma_w`, a number or a traced scalar, as all of the following.
      U_std: :math:`\sigma_u`.
      b_std: :math:`\sigma_b`; None for no bias.
      h0_std: :math:`\sigma_h`.
      return_sequences: whether to return the states at all times, (batch, time, out_dim), or the
        last one, (batch, out_dim), for which equal times suffice.
      bidirectional: whether a second such layer runs from the last time to the first. The states of
        both are channels side by side, so that kernels are means of theirs.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of inputs (batch, time, channels).

    Raises:
      ValueError: an argument is out of its range; when called, the input has other axes.
      TypeError: `activation` is no nonlinearity, or a standard deviation no real number.

    Source: Yang 2019, arXiv 1910.12478; Alemohammad et al. 2020, arXiv 2006.10246.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.Recurrent(8, stax.Relu(), W_std=2**0.5, U_std=2**0.5)
      >>> round(float(kernel_fn(jnp.ones((1, 3, 2)), get="nngp")[0, 0]), 5)
      3.0
    """
    width = check_count(_NAME, "out_dim", out_dim)
    dual = _dual_of(activation)
    stds = {"W_std": W_std, "U_std": U_std, "b_std": 0.0 if b_std is None else b_std}
    w_std, u_std, bias = (check_number(_NAME, name, std) for name, std in stds.items())
    start = check_number(_NAME, "h0_std", h0_std)
    is_sequence = check_flag(_NAME, "return_sequences", return_sequences)
    directions = 2 if check_flag(_NAME, "bidirectional", bidirectional) else 1

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, list[tuple[Array, ...]]]:
        input_shape = one_shape(_NAME, input_shape)
        batch, time, channels = _three_axes(input_shape)
        shapes = known_shape(_NAME, (channels, width)), (width, width), (width,), (width,)

        def draw(rng: Array) -> tuple[Array, ...]:
            keys = random.split(rng, 4)
            return tuple(random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))

        out = (batch, time) if is_sequence else (batch,)
        params = [draw(key) for key in random.split(rng, directions)]
        return (*out, width * directions), params

    def apply_fn(
        params: list[tuple[Array, ...]], inputs: Array, *, mask: Any = None, **kwargs: Any
    ) -> Array:
        ways = zip(params, (False, True), strict=False)
        return jnp.concatenate([run(one, inputs, mask, goes_back) for one, goes_back in ways], -1)

    def run(params: tuple[Array, ...], inputs: Array, mask: Any, goes_back: bool) -> Array:
        """The states of one direction."""
        x, weights, of_state, biases, epsilon = with_weights(_NAME, inputs, params)
        _three_axes(x.shape)
        check_channels(_NAME, x.shape[-1], weights.shape[0], x.shape)
        number = lambda value: jnp.asarray(value, x.dtype)  # noqa: E731
        given = number(w_std / x.shape[-1] ** 0.5) * (x @ weights)
        given = given + (number(bias) * biases)[None, None]
        of_state = number(u_std / weights.shape[1] ** 0.5) * of_state

        masked = jnp.zeros((), bool) if mask is None else jnp.all(mask, -1)
        masked = jnp.broadcast_to(masked, x.shape[:2])

        def body(before: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            given, masked = at
            state = activation[1]((), given + before @ of_state)
            state = jnp.where(masked[:, None], before, state)
            return state, state

        state = jnp.broadcast_to((number(start) * epsilon)[None], (x.shape[0], weights.shape[1]))
        over = jnp.moveaxis(given, 1, 0), masked.T
        last, states = lax.scan(body, state, over, reverse=goes_back)
        return jnp.moveaxis(states, 0, 1) if is_sequence else last

    one_way, way_back = (
        Recurrence(
            dual.activation,
            squared(w_std),
            squared(u_std),
            squared(bias),
            squared(start),
            width,
            is_sequence,
            reverse,
        )
        for reverse in (False, True)
    )
    parts: tuple[Part, ...] = (one_way,)
    if directions > 1:
        parts = Copies(2), Parallel((one_way, way_back)), Join(ChannelConcat())

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return jnp.all(mask, -1, keepdims=True) if is_sequence else jnp.all(mask, (1, 2))[:, None]

    label = f"{width}, {label_of(activation)}, W_std={show(w_std)}, U_std={show(u_std)}"
    return make_layer(_NAME, label, parts, init_fn, apply_fn, (0, -1), mask_fn)


def _dual_of(activation: Any) -> Dual:
    """The operation of a layer that is a nonlinearity alone."""
    kernel_fn = activation[2] if isinstance(activation, tuple) and len(activation) == 3 else None
    part = kernel_fn.part if isinstance(kernel_fn, KernelFn) else None
    if isinstance(part, Named) and len(part.parts) == 1 and isinstance(part.parts[0], Dual):
        return part.parts[0]
    raise TypeError(
        f"{_NAME}: activation={describe(activation)}, expected a nonlinearity of ntkjax.stax, such "
        "as Erf(); mind to call it."
    )


def _three_axes(shape: Shape) -> Shape:
    """The shape of a batch of sequences."""
    if len(shape) != 3:
        raise ValueError(f"{_NAME}: its input has shape {shape}, expected (batch, time, channels).")
    return shape
