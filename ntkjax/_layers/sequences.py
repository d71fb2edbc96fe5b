"""Layers that sequences begin with: embeddings of tokens, and of positions."""

from typing import Any

import jax.numpy as jnp
from jax import Array, random

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.algebra.shared import squared
from ntkjax._kernel.operations.positions import AddPositions, Embeddings
from ntkjax._kernel.operations.tokens import TokenTable
from ntkjax._layers.checks import Shape, check_axis, check_count, check_number, show
from ntkjax._layers.finite import (
    axis_of,
    check_channels,
    known_shape,
    one_array,
    one_shape,
    with_weights,
)
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.positions import Decay, check_decay, check_norm, correlated, covariances

Scalar = float | Array


def Embedding(vocab_size: int, out_dim: int, W_std: Scalar = 1.0) -> Layer:
    r"""Embed tokens: a random vector for each entry of a vocabulary.

    .. math::
        f(x)_p = \sigma_w E_{x_p}, \qquad K = \Theta = \sigma_w^2 \left[x_p = x'_q\right],

    with standard normal, trained vectors :math:`E_1, \dots`. It is the first layer of a network.

    Args:
      vocab_size: number of tokens, which are 0, 1, ..., vocab_size - 1. Any other number, such as
        -1 for padding, has the zero vector. Numbers are rounded to integers.
      out_dim: number of channels of the finite network.
      W_std: :math:`\sigma_w`, a number or a traced scalar.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of tokens (batch, time, 1) in any numeric dtype.

    Raises:
      ValueError: an argument is out of its range; when called, the input has several channels, or
        is not that of the network.
      TypeError: `W_std` is no real number.

    Source: Lee et al. 2018, arXiv 1711.00165, eq. 4-5, of one-hot inputs.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Embedding(10, 8), stax.GlobalAvgPool())
      >>> tokens = jnp.array([[3, 5], [5, 5]])[..., None]
      >>> kernel_fn(tokens, get="nngp").tolist()
      [[0.5, 0.5], [0.5, 1.0]]
    """
    count = check_count("Embedding", "vocab_size", vocab_size)
    width = check_count("Embedding", "out_dim", out_dim)
    std = check_number("Embedding", "W_std", W_std)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, Array]:
        input_shape = one_shape("Embedding", input_shape)
        _check_one("Embedding", input_shape)
        return (*input_shape[:-1], width), random.normal(rng, (count, width))

    def apply_fn(params: Array, inputs: Array, **kwargs: Any) -> Array:
        tokens = one_array("Embedding", inputs)
        _check_one("Embedding", tokens.shape)
        _, table = with_weights("Embedding", tokens, [params])
        index = jnp.round(tokens[..., 0])
        is_known = (index >= 0) & (index < table.shape[0])
        vectors = table[jnp.where(is_known, index, 0).astype(int)]
        return jnp.where(is_known[..., None], jnp.asarray(std, table.dtype) * vectors, 0.0)

    part = _Tokens(squared(std), count, width)
    return make_layer(
        "Embedding", f"{count}, {width}, W_std={show(std)}", (part,), init_fn, apply_fn, (0, -1)
    )


@operation
class _Tokens(Structure):
    """A table of tokens, on an input of the network."""

    weight_var: Scalar
    count: int = static()
    channels: int = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        node = graph.nodes[index]
        if node.inputs or node.operation.is_stored:  # a kernel, in place of tokens
            raise LayerError(
                f"{place}: its input must be that of the network, tokens as numbers; make it the "
                "first layer."
            )
        operation = TokenTable(self.weight_var, self.count, self.channels)
        return graph.add(operation, (index,), place)


def PositionalEncoding(
    W_std: Scalar = 1.0,
    p_norm: float = 2,
    decay_fn: Decay | None = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Add a random embedding of its position to every position.

    .. math::
        f(x)_p = x_p + \sigma_w e_p, \qquad K' = K + \sigma_w^2 R, \qquad
        \Theta' = \Theta + \sigma_w^2 R, \qquad
        R_{pq} = r\!\left(\sum_i |p_i - q_i|^\nu\right),

    with trained Gaussian vectors e of covariance R, the same for all images.

    Args:
      W_std: :math:`\sigma_w`, a number or a traced scalar.
      p_norm: :math:`\nu`.
      decay_fn: r, a function of an array of distances; None for :math:`r(d) = [d = 0]`.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels; all others are positions.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range.
      TypeError: `W_std` is no real number, or `decay_fn` no function.

    Source: Hron et al. 2020, arXiv 2006.10540, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> encoding = stax.PositionalEncoding(decay_fn=lambda d: jnp.exp(-d))
      >>> encoding.kernel_fn(jnp.zeros((1, 2, 3)), get="nngp")[0, 0].round(4).tolist()
      [[1.0, 0.3679], [0.3679, 1.0]]
    """
    name = "PositionalEncoding"
    std = check_number(name, "W_std", W_std)
    norm = check_norm(name, "p_norm", p_norm)
    decay = check_decay(name, "decay_fn", decay_fn)
    batch_axis = check_axis(name, "batch_axis", batch_axis)
    channel_axis = check_axis(name, "channel_axis", channel_axis)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, Array]:
        input_shape = one_shape(name, input_shape)
        axis_of(name, "channel_axis", channel_axis, input_shape)
        batch = axis_of(name, "batch_axis", batch_axis, input_shape)
        one = (*input_shape[:batch], 1, *input_shape[batch + 1 :])
        return input_shape, random.normal(rng, known_shape(name, one))

    def apply_fn(params: Array, inputs: Array, **kwargs: Any) -> Array:
        x, noise = with_weights(name, inputs, [params])
        batch = axis_of(name, "batch_axis", batch_axis, x.shape)
        axis = axis_of(name, "channel_axis", channel_axis, x.shape)
        noise = jnp.moveaxis(noise, (batch, axis), (0, -1))[0]
        check_channels(name, x.shape[axis], noise.shape[-1], x.shape)
        sizes = tuple(n for i, n in enumerate(x.shape) if i not in (batch, axis))
        if noise.shape[:-1] != sizes:
            raise ValueError(
                f"{name}: its input has {sizes} positions, but its embeddings were drawn for "
                f"{noise.shape[:-1]}; call init_fn with the shape of these inputs."
            )
        vectors = correlated(name, noise.reshape(-1, noise.shape[-1]), sizes, norm, decay)
        vectors = jnp.moveaxis(vectors.reshape(1, *noise.shape), (0, -1), (batch, axis))
        return x + jnp.asarray(std, x.dtype) * vectors

    axes = (batch_axis, channel_axis)
    return make_layer(name, f"{show(std)}", (_Encoding(std, norm, decay),), init_fn, apply_fn, axes)


@operation
class _Encoding(Structure):
    """Embeddings of the positions of an input."""

    std: Scalar
    norm: float = static()
    decay: Decay | None = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        table = covariances(
            "PositionalEncoding", graph.nodes[index].signal.sizes, self.norm, self.decay
        )
        embeddings = Embeddings(1.0, jnp.asarray(self.std**2, table.dtype) * table)
        return graph.add(AddPositions(embeddings, None, self.decay is None), (index,), place)


def _check_one(name: str, shape: Shape) -> None:
    """Tokens have one channel."""
    if shape[-1] != 1:
        raise ValueError(
            f"{name}: its input has shape {shape}, expected tokens with one channel, such as "
            "(batch, time, 1); x[..., None] is that of tokens (batch, time)."
        )
