"""Global self-attention over all positions: its arguments, its kernel, its finite network."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, random

from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.operations.affine import Affine
from ntkjax._kernel.operations.attention import Attend, AttendProducts
from ntkjax._kernel.operations.positions import AddPositions, Embeddings
from ntkjax._layers.checks import (
    Shape,
    check_axis,
    check_choice,
    check_count,
    check_flag,
    check_number,
    show,
)
from ntkjax._layers.finite import (
    axis_of,
    check_channels,
    known_shape,
    one_shape,
    with_weights,
)
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import over_channels
from ntkjax._layers.positions import Decay, check_decay, check_norm, correlated, covariances

Scalar = float | Array

_NAME = "GlobalSelfAttention"


class PositionalEmbedding(enum.Enum):
    """How `GlobalSelfAttention` adds embeddings of positions to its input.

    Example:
      >>> from ntkjax import stax
      >>> stax.PositionalEmbedding("SUM").name
      'SUM'
    """

    NONE = "NONE"
    SUM = "SUM"
    CONCAT = "CONCAT"


class AttentionMechanism(enum.Enum):
    """What `GlobalSelfAttention` makes of scores to have the weights of positions.

    Example:
      >>> from ntkjax import stax
      >>> stax.AttentionMechanism("RELU").name
      'RELU'
    """

    SOFTMAX = "SOFTMAX"
    IDENTITY = "IDENTITY"
    ABS = "ABS"
    RELU = "RELU"


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "SOFTMAX": jax.nn.softmax,
    "IDENTITY": lambda scores: scores,
    "ABS": jnp.abs,
    "RELU": jax.nn.relu,
}


class _Positions(NamedTuple):
    """What the user says of positional embeddings."""

    kind: str
    norm: float
    std: Scalar
    decay: Decay | None
    channels: int | None
    in_values: bool

    def width(self, channels: int) -> int:
        """Channels of the embeddings beside an input of so many channels."""
        if self.channels is None:
            return channels
        if self.kind == "SUM" and self.channels != channels:
            raise LayerError(
                f"{_NAME}: n_chan_pos_emb={self.channels}, but pos_emb_type='SUM' adds the "
                f"embeddings to an input of {channels} channels; leave n_chan_pos_emb out, or use "
                "pos_emb_type='CONCAT'."
            )
        return self.channels

    def embeddings(self, sizes: Shape, channels: int) -> Embeddings | None:
        """What they make of the kernel of an input of so many channels."""
        if self.kind == "NONE":
            return None
        width, share = self.width(channels), 1.0
        if self.kind == "CONCAT":
            share = channels / (channels + width)
        variance = self.std**2 * (1.0 - share if self.kind == "CONCAT" else 1.0)
        table = covariances(_NAME, sizes, self.norm, self.decay)
        return Embeddings(share, jnp.asarray(variance, table.dtype) * table)


@operation
class _Attention(Structure):
    """The operations of the layer, once the shape of its input is known."""

    score_std: Scalar
    value_std: Scalar
    out_std: Scalar
    b_std: Scalar | None
    pos_std: Scalar
    #: Of keys and queries, of all heads' values, and of the output.
    channels: tuple[int, int, int] = static()
    mechanism: str = static()
    linear_scaling: bool = static()
    kind: str = static()
    norm: float = static()
    decay: Decay | None = static()
    pos_channels: int | None = static()
    in_values: bool = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        if not self.linear_scaling and self.mechanism != "IDENTITY":
            raise UnsupportedLayerError(
                f"{place}: its kernel has no known closed form for linear_scaling=False and "
                f"attention_mechanism={self.mechanism!r}; use linear_scaling=True, or "
                "attention_mechanism='IDENTITY'."
            )
        signal = graph.nodes[index].signal
        positions = _Positions(
            self.kind, self.norm, self.pos_std, self.decay, self.pos_channels, self.in_values
        )
        embeddings = positions.embeddings(signal.sizes, signal.channels)
        if embeddings is not None and self.in_values:
            width = positions.width(signal.channels)
            total = signal.channels + width if self.kind == "CONCAT" else None
            addition = AddPositions(embeddings, total, self.decay is None)
            index, embeddings = graph.add(addition, (index,), place), None
        n_key, n_val, n_out = self.channels
        parts: list[Any] = [Attend(self.score_std, embeddings, self.mechanism)]
        if not self.linear_scaling:
            parts = [AttendProducts(embeddings), Affine(1.0, None, n_key)]
            parts.append(Affine(self.score_std**2, None, n_key))
        parts.append(Affine(self.value_std**2, None, n_val))
        bias = None if self.b_std is None else self.b_std**2
        parts.append(Affine(self.out_std**2, bias, n_out))
        for part in parts:
            index = graph.add(part, (index,), place)
        return index


def GlobalSelfAttention(
    n_chan_out: int,
    n_chan_key: int,
    n_chan_val: int,
    n_heads: int,
    linear_scaling: bool = True,
    W_key_std: Scalar = 1.0,
    W_value_std: Scalar = 1.0,
    W_query_std: Scalar = 1.0,
    W_out_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    attention_mechanism: str | AttentionMechanism = AttentionMechanism.SOFTMAX.name,
    pos_emb_type: str | PositionalEmbedding = PositionalEmbedding.NONE.name,
    pos_emb_p_norm: float = 2,
    pos_emb_decay_fn: Decay | None = None,
    n_chan_pos_emb: int | None = None,
    W_pos_emb_std: Scalar = 1.0,
    val_pos_emb: bool = False,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Self-attention over all positions, of many heads.

    .. math::
        f(x) = \left[A_1 x W^V_1, \dots, A_H x W^V_H\right] W^O + b, \qquad
        A_h = \zeta\!\left(\frac{x W^Q_h (x W^K_h)^\top}{n^\alpha}\right),

    with n the channels of keys. Let :math:`\tilde K` be the kernel of what keys and queries see,
    :math:`c = \sigma_q \sigma_k` and :math:`o = \sigma_v \sigma_o`. For :math:`\alpha = 1`, the
    linear scaling, with tied weights :math:`W^Q \propto W^K`, scores converge, and

    .. math::
        A = \zeta(c \tilde K_{xx}), \qquad K' = o^2 A K A'^\top + \sigma_b^2, \qquad
        \Theta' = o^2 A \Theta A'^\top + 2 o^2 A K A'^\top + \sigma_b^2.

    For :math:`\alpha = 1/2` with independent weights, scores are random, and with
    :math:`\zeta(a) = a`

    .. math::
        K' = c^2 o^2 \tilde K \langle\tilde K, K\rangle + \sigma_b^2, \qquad
        \Theta' = c^2 o^2 \left(\tilde\Theta \langle\tilde K, K\rangle
        + \tilde K (\langle\tilde\Theta, K\rangle + \langle\tilde K, \Theta\rangle)
        + 4 \tilde K \langle\tilde K, K\rangle\right) + \sigma_b^2,

    where :math:`\langle\cdot, \cdot\rangle` sums over all pairs of positions.

    Embeddings of positions have the covariance :math:`R_{pq} = r(\sum_i |p_i - q_i|^\nu)`. With
    "SUM", :math:`\tilde K = K + \sigma_p^2 R`; with "CONCAT" it is the mean of K and
    :math:`\sigma_p^2 R` weighted by their channels. They are trained, as weights are.

    Args:
      n_chan_out: channels of the output.
      n_chan_key: channels of keys and queries, of each head.
      n_chan_val: channels of values, of each head.
      n_heads: number of heads. The kernel is that of many heads of many channels.
      linear_scaling: whether scores are divided by `n_chan_key` (and the weights of keys and
        queries are the same) or by its root.
      W_key_std: :math:`\sigma_k`, a number or a traced scalar, as all of the following.
      W_value_std: :math:`\sigma_v`.
      W_query_std: :math:`\sigma_q`.
      W_out_std: :math:`\sigma_o`.
      b_std: :math:`\sigma_b`; None for no bias.
      attention_mechanism: :math:`\zeta`: "SOFTMAX" over key positions, "IDENTITY", "ABS" or "RELU",
        or a member of `AttentionMechanism`.
      pos_emb_type: "NONE", "SUM" or "CONCAT", or a member of `PositionalEmbedding`.
      pos_emb_p_norm: :math:`\nu`, a number that is not traced.
      pos_emb_decay_fn: r, a function of an array of distances; None for :math:`r(d) = [d = 0]`.
      n_chan_pos_emb: channels of the embeddings; None for those of the input.
      W_pos_emb_std: :math:`\sigma_p`.
      val_pos_emb: whether values see the embeddings, too. K and :math:`\Theta` above are then
        :math:`\tilde K` and :math:`\tilde\Theta`.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels; all others are positions.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range.
      TypeError: a standard deviation is no real number, or an axis no integer.
      NotImplementedError: `kernel_fn` is called, `linear_scaling` is False and the mechanism is not
        "IDENTITY": no closed form is known.

    Source: Hron et al. 2020, arXiv 2006.10540, sections 3-4 and appendix.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> attention = stax.GlobalSelfAttention(8, n_chan_key=4, n_chan_val=4, n_heads=2, b_std=0.5)
      >>> _, _, kernel_fn = stax.serial(attention, stax.GlobalAvgPool())
      >>> round(float(kernel_fn(jnp.ones((1, 5, 3)), get="nngp")[0, 0]), 6)
      1.25
    """
    n_out = check_count(_NAME, "n_chan_out", n_chan_out)
    n_key = check_count(_NAME, "n_chan_key", n_chan_key)
    n_val = check_count(_NAME, "n_chan_val", n_chan_val)
    heads = check_count(_NAME, "n_heads", n_heads)
    is_linear = check_flag(_NAME, "linear_scaling", linear_scaling)
    stds = {
        "W_key_std": W_key_std, "W_value_std": W_value_std, "W_query_std": W_query_std,
        "W_out_std": W_out_std,
    }  # fmt: skip
    key, val, query, out = (check_number(_NAME, name, std) for name, std in stds.items())
    bias = None if b_std is None else check_number(_NAME, "b_std", b_std)
    mechanism = _check_member("attention_mechanism", attention_mechanism, AttentionMechanism)
    norm = check_norm(_NAME, "pos_emb_p_norm", pos_emb_p_norm)
    positions = _Positions(
        _check_member("pos_emb_type", pos_emb_type, PositionalEmbedding),
        norm,
        check_number(_NAME, "W_pos_emb_std", W_pos_emb_std),
        check_decay(_NAME, "pos_emb_decay_fn", pos_emb_decay_fn),
        None if n_chan_pos_emb is None else check_count(_NAME, "n_chan_pos_emb", n_chan_pos_emb),
        check_flag(_NAME, "val_pos_emb", val_pos_emb),
    )
    batch_axis = check_axis(_NAME, "batch_axis", batch_axis)
    channel_axis = check_axis(_NAME, "channel_axis", channel_axis)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Any, ...]]:
        input_shape = one_shape(_NAME, input_shape)
        batch = axis_of(_NAME, "batch_axis", batch_axis, input_shape)
        axis = axis_of(_NAME, "channel_axis", channel_axis, input_shape)
        seen = of_values = channels = input_shape[axis]
        embedded = None
        keys = random.split(rng, 6)
        if positions.kind != "NONE":
            width = positions.width(channels)
            of_positions = _replaced(input_shape, {batch: 1, axis: width})
            embedded = random.normal(keys[5], known_shape(_NAME, of_positions))
            if positions.kind == "CONCAT":
                seen = channels + width
                of_values = seen if positions.in_values else channels
        known_shape(_NAME, (heads, channels))
        shapes = (heads, seen, n_key), (heads, seen, n_key), (heads, of_values, n_val)
        queries, of_keys, values = map(random.normal, keys[:3], shapes)
        outputs = random.normal(keys[3], (heads * n_val, n_out))
        alone = _replaced((1,) * len(input_shape), {axis: n_out})
        biases = None if bias is None else random.normal(keys[4], alone)
        shape = _replaced(input_shape, {axis: n_out})
        return shape, (None if is_linear else queries, of_keys, values, outputs, biases, embedded)

    def apply_fn(
        params: tuple[Any, ...], inputs: Array, *, mask: Array | None = None, **kwargs: object
    ) -> Array:
        x, queries, keys, values, outputs, biases, embedded = with_weights(_NAME, inputs, params)
        batch = axis_of(_NAME, "batch_axis", batch_axis, x.shape)
        axis = axis_of(_NAME, "channel_axis", channel_axis, x.shape)
        x = jnp.moveaxis(x, (batch, axis), (0, -1))
        sizes, channels = x.shape[1:-1], x.shape[-1]
        x = x.reshape(x.shape[0], -1, channels)
        masked = None
        if mask is not None:
            masked = jnp.all(jnp.broadcast_to(mask, inputs.shape), axis, keepdims=True)
            masked = jnp.moveaxis(masked, (batch, axis), (0, -1)).reshape(*x.shape[:2])
        if embedded is not None:
            embedded = jnp.moveaxis(embedded, (batch, axis), (0, -1))[0]
        seen = _embedded(x, embedded, sizes, positions, masked)
        check_channels(_NAME, seen.shape[-1], keys.shape[1], inputs.shape)
        of_values = seen if positions.in_values else x
        check_channels(_NAME, of_values.shape[-1], values.shape[1], inputs.shape)
        scores = _scores(seen, keys if queries is None else queries, keys, is_linear)
        scores = jnp.asarray(query * key, x.dtype) * scores
        if masked is not None:  # no attention is paid to keys there
            least = -0.25 * jnp.finfo(x.dtype).max if mechanism == "SOFTMAX" else 0.0
            scores = jnp.where(masked[:, None, None, :], jnp.asarray(least, x.dtype), scores)
        weights = _FUNCTIONS[mechanism](scores)
        value = jnp.einsum("npc,hcv->nhpv", of_values, values)
        made = jnp.einsum("nhpq,nhqv->npvh", weights, value).reshape(*x.shape[:2], -1)
        scale = val * out / (outputs.shape[0] * of_values.shape[-1]) ** 0.5
        made = jnp.asarray(scale, x.dtype) * (made @ outputs)
        if biases is not None:
            made = made + jnp.asarray(bias, x.dtype) * biases.reshape(1, 1, -1)
        made = made.reshape(x.shape[0], *sizes, outputs.shape[1])
        return jnp.moveaxis(made, (0, -1), (batch, axis))

    part = _Attention(
        query * key, val, out, bias, positions.std, (n_key, heads * n_val, n_out), mechanism,
        is_linear, positions.kind, norm, positions.decay, positions.channels, positions.in_values,
    )  # fmt: skip
    label = f"{n_out}, {n_key}, {n_val}, {heads}, attention_mechanism={mechanism!r}"
    if positions.kind != "NONE":
        label += f", pos_emb_type={positions.kind!r}, W_pos_emb_std={show(positions.std)}"
    axes, mask_fn = (batch_axis, channel_axis), over_channels(channel_axis)
    return make_layer(_NAME, label, (part,), init_fn, apply_fn, axes, mask_fn)


def _replaced(shape: Shape, sizes: dict[int, int]) -> Shape:
    """A shape with other sizes along some axes."""
    return tuple(sizes.get(axis, size) for axis, size in enumerate(shape))


def _check_member(argument: str, value: Any, choices: type[enum.Enum]) -> str:
    """A member of an enumeration, or its name."""
    names = [member.name for member in choices]
    return check_choice(_NAME, argument, value.name if isinstance(value, choices) else value, names)


def _embedded(
    x: Array, embedded: Array | None, sizes: Shape, positions: _Positions, masked: Array | None
) -> Array:
    """What keys and queries see, `[example, position, channel]`."""
    if embedded is None:
        return x
    if embedded.shape[:-1] != sizes:
        raise ValueError(
            f"{_NAME}: its input has {sizes} positions, but its embeddings were drawn for "
            f"{embedded.shape[:-1]}; call init_fn with the shape of these inputs."
        )
    noise = embedded.reshape(-1, embedded.shape[-1])
    vectors = correlated(_NAME, noise, sizes, positions.norm, positions.decay)
    vectors = (jnp.asarray(positions.std, x.dtype) * vectors)[None]
    if masked is not None:
        vectors = jnp.where(masked[..., None], jnp.zeros((), x.dtype), vectors)
    if positions.kind == "SUM":
        check_channels(_NAME, x.shape[-1], vectors.shape[-1], x.shape)
        return x + vectors
    return jnp.concatenate([x, jnp.broadcast_to(vectors, (x.shape[0], *vectors.shape[1:]))], -1)


def _scores(x: Array, queries: Array, keys: Array, is_linear: bool) -> Array:
    """Products of queries and keys, `[example, head, query, key]`."""
    of_queries, of_keys = (jnp.einsum("npc,hck->nhpk", x, w) for w in (queries, keys))
    width = keys.shape[2] if is_linear else keys.shape[2] ** 0.5
    product = jnp.einsum("nhpk,nhqk->nhpq", of_queries, of_keys)
    return jnp.asarray(1 / (x.shape[-1] * width), x.dtype) * product
