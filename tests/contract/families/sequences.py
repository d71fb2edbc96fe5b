"""Cases of attention and of layers of sequences."""

import numpy as np
from jax import numpy as jnp

from ntkjax.stax import (
    Dense,
    Embedding,
    Erf,
    GlobalSelfAttention,
    PositionalEncoding,
    Recurrent,
    Relu,
)
from tests.contract import twins, twins_sequences
from tests.contract.case import Case
from tests.contract.expectations import error_function, rectifier

STDS = {"W_key_std": 0.5, "W_query_std": 1.2, "W_value_std": 0.8, "W_out_std": 1.5}
OF_TWIN = {"score_std": 0.5 * 1.2, "value_std": 0.8 * 1.5}


def attention(n, **options):
    """Means over heads and channels of values are right however few there are; scores are not."""
    return GlobalSelfAttention(32, n, 16, 2, **STDS, **options)


def attention_twin(**options):
    return twins_sequences.attention(**OF_TWIN, **options)


# Embeddings are in `tests/layers/test_attention.py`: those of a finite network have few channels.
CASES = [
    Case(
        "GlobalSelfAttention", ("GlobalSelfAttention", "AttentionMechanism", "PositionalEmbedding"),
        lambda n: [attention(n, b_std=0.3)],
        attention_twin(b_std=0.3), (3, 2), widths=(1024,),
    ),
    Case(
        "GlobalSelfAttention, absolute scores", (),
        lambda n: [attention(n, attention_mechanism="ABS")],
        attention_twin(mechanism="ABS"), (2, 2, 2), widths=(1024,),
    ),
    Case(
        "GlobalSelfAttention, scaled by the root", (),
        lambda n: [
            attention(n, linear_scaling=False, attention_mechanism="IDENTITY", b_std=0.3),
        ],
        attention_twin(mechanism="IDENTITY", linear_scaling=False, b_std=0.3),
        (3, 2), widths=(32,),
    ),
    Case(
        "Recurrent", ("Recurrent",),
        lambda n: [Recurrent(n, Relu(), 1.2, 1.1, 0.2, 0.5)],
        twins_sequences.recurrent(rectifier(0.0, 1.0), 1.2, 1.1, 0.2, 0.5),
        (3, 2), widths=(256,),
    ),
    Case(
        "Recurrent, both ways", (),
        lambda n: [
            Recurrent(n, Erf(), 1.2, 1.1, 0.2, 0.5, return_sequences=True, bidirectional=True),
        ],
        twins_sequences.recurrent(
            error_function(), 1.2, 1.1, 0.2, 0.5, return_sequences=True, bidirectional=True,
        ),
        (3, 2), widths=(256,),
    ),
    Case(
        "Embedding", ("Embedding",),
        lambda n: [Embedding(2, n, 1.3)],
        "products of inputs do not tell their tokens", (3, 1), widths=(256,),
    ),
    Case(
        "PositionalEncoding", ("PositionalEncoding",),
        lambda n: [Dense(n), PositionalEncoding(0.7, 1, lambda d: jnp.exp(-d))],
        twins.serial(
            twins.dense(), twins_sequences.positional_encoding(0.7, 1, lambda d: np.exp(-d))
        ), (2, 2, 2), widths=(256,),
    ),
]  # fmt: skip
