"""Cases of masks, and of graphs, which come with the call."""

import jax.numpy as jnp
import numpy as np

from ntkjax.stax import (
    Aggregate,
    Conv,
    Dense,
    Erf,
    GlobalAvgPool,
    GlobalSelfAttention,
    LayerNorm,
    Recurrent,
    Relu,
)
from tests.contract import twins, twins_masks
from tests.contract.case import Case
from tests.contract.expectations import error_function, rectifier
from tests.contract.twins_masks import masked

CONV = {"padding": "SAME", "W_std": 1.3, "b_std": 0.2}
RELU = twins.activation(rectifier(0.0, 1.0))
ERF = twins.activation(error_function())
CONSTANT = 100.0


def graphs(n):
    """Weighted graphs of four nodes; image 1 has no edge."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 4, 4)) * (rng.uniform(size=(8, 4, 4)) < 0.5)
    weights[1] = 0
    return weights[:n]


def edges(n):
    """Edges of the same number of nodes, one of which is doubled and one left out."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 4, (8, 5, 2))
    found[:, 1] = found[:, 0]
    found[:, 2, 0] = -1
    return found[:n]


def matrices(n):
    """The matrices of `edges`."""
    weights = np.zeros((n, 4, 4))
    for image, of_image in enumerate(edges(n)):
        for tail, head in of_image:
            if tail >= 0:
                weights[image, tail, head] += 1
    return weights


def with_graphs(x):
    return x, {"pattern": jnp.asarray(graphs(x.shape[0]), x.dtype)}


def with_edges(x):
    return x, {"pattern": jnp.asarray(edges(x.shape[0]))}


def positions(n):
    """Which of five positions are masked: the last two of image 0, one of image 1, then none."""
    mask = np.zeros((8, 5), bool)
    mask[0, 3:], mask[1, 1] = True, True
    return mask[:n]


def with_masks(x):
    mask = positions(x.shape[0])[:, :, None]
    return jnp.where(mask, jnp.asarray(CONSTANT, x.dtype), x), {"mask_constant": CONSTANT}


def masked_serial(*layers):
    return twins.serial(twins_masks.start(positions), *layers, twins_masks.end)


CASES = [
    Case(
        "Aggregate", ("Aggregate",),
        lambda n: [Dense(n, 1.3, 0.2), Aggregate(), Relu()],
        twins.serial(
            twins.dense(W_std=1.3, b_std=0.2), twins_masks.aggregate(graphs), RELU,
        ), (4, 2), call=with_graphs,
    ),
    Case(
        "Aggregate, sparse", (),
        lambda n: [Dense(n), Relu(), Aggregate(1, implementation="SPARSE"), GlobalAvgPool()],
        twins.serial(
            twins.dense(), RELU, twins_masks.aggregate(matrices), twins.global_avg_pool(),
        ), (4, 2), call=with_edges,
    ),
    Case(
        "masks under a global pool", (),
        lambda n: [Conv(n, (3,), **CONV), Erf(), Dense(n, 1.1, 0.1), GlobalAvgPool(), Relu()],
        masked_serial(
            masked(twins.conv((3,), **CONV)), masked(ERF),
            masked(twins.dense(W_std=1.1, b_std=0.1)), twins_masks.global_avg_pool, masked(RELU),
        ), (5, 2), widths=(64, 128), call=with_masks,
    ),
    Case(
        "masks, all positions", (),
        lambda n: [Conv(n, (3,), **CONV), LayerNorm((1, 2)), Relu(), Conv(n, (2,), b_std=0.3)],
        masked_serial(
            masked(twins.conv((3,), **CONV)), twins_masks.layer_norm((0,)), masked(RELU),
            masked(twins.conv((2,), b_std=0.3), twins_masks.middle((2,))),
        ), (5, 2), widths=(64, 128), call=with_masks,
    ),
    Case(
        "masks of a recurrent layer", (),
        lambda n: [
            Recurrent(n, Erf(), 1.2, 1.1, 0.2, 0.5, return_sequences=True, bidirectional=True),
            GlobalAvgPool(),
        ],
        masked_serial(
            twins_masks.recurrent(
                error_function(), 1.2, 1.1, 0.2, 0.5, return_sequences=True, bidirectional=True,
            ),
            twins_masks.global_avg_pool,
        ), (5, 2), widths=(256,), call=with_masks,
    ),
    Case(
        "masks of attention", (),
        lambda n: [GlobalSelfAttention(32, n, 16, 2, W_value_std=1.2)],
        masked_serial(twins_masks.attention(1.44, 1.0)),
        (5, 2), widths=(1024,), call=with_masks,
    ),
]  # fmt: skip
