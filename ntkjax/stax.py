"""Layers of infinitely wide networks; each is a triple `(init_fn, apply_fn, kernel_fn)`."""

from ntkjax._layers.aggregate import Aggregate, AggregateImplementation
from ntkjax._layers.attention import (
    AttentionMechanism,
    GlobalSelfAttention,
    PositionalEmbedding,
)
from ntkjax._layers.branching import FanInSum, FanOut, Identity
from ntkjax._layers.combinators import parallel, repeat, serial
from ntkjax._layers.conv import Conv
from ntkjax._layers.dense import Dense
from ntkjax._layers.error_functions import Erf, Gelu
from ntkjax._layers.flatten import Flatten
from ntkjax._layers.masking import MaskedArray, unmask_fn
from ntkjax._layers.norm import LayerNorm
from ntkjax._layers.numerical import Elementwise, ElementwiseNumerical
from ntkjax._layers.pool import AvgPool, GlobalAvgPool, GlobalSumPool, SumPool
from ntkjax._layers.rectifiers import ABRelu, Abs, LeakyRelu, Relu
from ntkjax._layers.recurrent import Recurrent
from ntkjax._layers.requirements import Bool, Diagonal
from ntkjax._layers.sequences import Embedding, PositionalEncoding

__all__ = [
    "ABRelu",
    "Abs",
    "Aggregate",
    "AggregateImplementation",
    "AttentionMechanism",
    "AvgPool",
    "Bool",
    "Conv",
    "Dense",
    "Diagonal",
    "Elementwise",
    "ElementwiseNumerical",
    "Embedding",
    "Erf",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gelu",
    "GlobalAvgPool",
    "GlobalSelfAttention",
    "GlobalSumPool",
    "Identity",
    "LayerNorm",
    "LeakyRelu",
    "MaskedArray",
    "PositionalEmbedding",
    "PositionalEncoding",
    "Recurrent",
    "Relu",
    "SumPool",
    "parallel",
    "repeat",
    "serial",
    "unmask_fn",
]
