"""Architectures of texts and of graphs: the transformer encoder and the GNTK."""

import math
from typing import Any

from ntkjax._layers.aggregate import Aggregate
from ntkjax._layers.attention import GlobalSelfAttention
from ntkjax._layers.branching import FanInSum, FanOut, Identity
from ntkjax._layers.checks import check_count, check_flag
from ntkjax._layers.combinators import parallel, serial
from ntkjax._layers.dense import Dense
from ntkjax._layers.layer import Layer
from ntkjax._layers.norm import LayerNorm
from ntkjax._layers.parameterization import Scalar
from ntkjax._layers.pool import GlobalAvgPool, GlobalSumPool
from ntkjax._layers.rectifiers import Relu
from ntkjax._layers.repetition import repeat

_ROOT_TWO = math.sqrt(2)


def transformer(
    depth: int = 2,
    width: int = 128,
    n_heads: int = 4,
    out_dim: int = 10,
    W_key_std: Scalar = 1.0,
    W_query_std: Scalar = 1.0,
    W_std: Scalar = _ROOT_TWO,
    b_std: Scalar | None = 0.1,
) -> Layer:
    r"""A transformer encoder with layer normalisation first, and the mean over its outputs.

    .. math::
        x &\leftarrow x + \mathrm{Attention}(\mathrm{LayerNorm}(x)), \\
        x &\leftarrow x + D\, \phi(D\, \mathrm{LayerNorm}(x)),

    `depth` times, on top of a Dense that embeds the inputs; then the mean over positions and a
    Dense. Put `stax.Embedding` and `stax.PositionalEncoding` before it for texts of tokens, and
    pass `mask_constant` to `kernel_fn` for texts of different lengths.

    Args:
      depth: number of blocks.
      width: channels of the finite network.
      n_heads: heads of each attention.
      out_dim: number of outputs.
      W_key_std: standard deviation of the weights of the keys.
      W_query_std: standard deviation of the weights of the queries.
      W_std: standard deviation of the weights of all Dense layers.
      b_std: standard deviation of their biases; None for no biases.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of inputs (batch, time, channels), or of more spatial axes.

    Raises:
      ValueError: an argument is out of its range.

    Source: Vaswani et al. 2017, arXiv 1706.03762; Xiong et al. 2020, arXiv 2002.04745; Hron et al.
    2020, arXiv 2006.10540, for its kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> import ntkjax
      >>> network = ntkjax.architectures.transformer(depth=1)
      >>> network.kernel_fn(jnp.ones((2, 4, 3)), get="ntk").shape
      (2, 2)
    """
    check_count("transformer", "depth", depth)

    def dense(channels: int) -> Layer:
        return Dense(channels, W_std, b_std)

    def beside(*layers: Any) -> Layer:
        return serial(FanOut(2), parallel(serial(*layers), Identity()), FanInSum())

    attention = GlobalSelfAttention(
        width, width, width, n_heads, W_key_std=W_key_std, W_query_std=W_query_std
    )
    block = serial(
        beside(LayerNorm(), attention),
        beside(LayerNorm(), dense(width), Relu(), dense(width)),
    )
    return serial(dense(width), repeat(block, depth), GlobalAvgPool(), dense(out_dim))


def gntk(
    blocks: int = 2,
    layers: int = 2,
    width: int = 128,
    out_dim: int = 1,
    jumping_knowledge: bool = False,
    W_std: Scalar = _ROOT_TWO,
    b_std: Scalar | None = None,
) -> Layer:
    r"""The graph neural tangent kernel: sums over neighbours, fully connected layers, a readout.

    .. math::
        h_u \leftarrow \sum_v P_{uv} h_v, \qquad
        h_u \leftarrow (\phi \circ D)^{\mathrm{layers}} h_u,

    `blocks` times, with the sum over all nodes and a Dense on top. With jumping knowledge, every
    block has a readout of its own, and these are added: the kernel of their concatenation.

    Args:
      blocks: number of times that neighbours are summed over.
      layers: fully connected layers in each block.
      width: channels of the finite network.
      out_dim: number of outputs.
      jumping_knowledge: whether the outputs of all blocks are read, not those of the last alone.
      W_std: standard deviation of the weights.
      b_std: standard deviation of the biases; None for no biases.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of inputs (graph, node, channels). Both functions take
      `pattern=`, (graph, node, node): the adjacency matrices P, with ones on their diagonals where
      a node counts among its neighbours, perhaps divided by degrees.

    Raises:
      ValueError: an argument is out of its range.

    Source: Du et al. 2019, arXiv 1905.13192, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> import ntkjax
      >>> network = ntkjax.architectures.gntk(blocks=1)
      >>> nodes, pattern = jnp.ones((2, 4, 3)), jnp.ones((2, 4, 4))
      >>> network.kernel_fn(nodes, None, "ntk", pattern=pattern).shape
      (2, 2)
    """
    check_count("gntk", "blocks", blocks)
    check_count("gntk", "layers", layers)
    every = check_flag("gntk", "jumping_knowledge", jumping_knowledge)
    hidden = serial(Dense(width, W_std, b_std), Relu())
    block = serial(Aggregate(1), repeat(hidden, layers))

    def readout() -> Layer:
        return serial(GlobalSumPool(), Dense(out_dim, W_std, b_std))

    network = serial(block, readout())
    for _ in range(blocks - 1):
        above = serial(FanOut(2), parallel(readout(), network), FanInSum()) if every else network
        network = serial(block, above)
    return network
