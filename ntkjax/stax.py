"""Layers of infinitely wide networks; each is a triple `(init_fn, apply_fn, kernel_fn)`."""

from ntkjax._layers.aggregate import Aggregate, AggregateImplementation
from ntkjax._layers.attention import (
    AttentionMechanism,
    GlobalSelfAttention,
    PositionalEmbedding,
)
from ntkjax._layers.batch_norm import BatchNorm
from ntkjax._layers.branching import FanInProd, FanInSum, FanOut, Identity
from ntkjax._layers.combinators import parallel, serial
from ntkjax._layers.concat import FanInConcat
from ntkjax._layers.conv import Conv
from ntkjax._layers.conv_local import ConvLocal
from ntkjax._layers.conv_transpose import ConvTranspose
from ntkjax._layers.dense import Dense
from ntkjax._layers.depthwise import DepthwiseConv
from ntkjax._layers.dot_general import DotGeneral
from ntkjax._layers.dropout import Dropout
from ntkjax._layers.error_functions import Erf, Gelu, Sigmoid_like
from ntkjax._layers.exponentials import Exp, ExpNormalized, Gaussian
from ntkjax._layers.flatten import Flatten
from ntkjax._layers.index import Index, Slice
from ntkjax._layers.masking import MaskedArray, unmask_fn
from ntkjax._layers.no_kernel import MaxPool, Softmax
from ntkjax._layers.norm import LayerNorm
from ntkjax._layers.numerical import Elementwise, ElementwiseNumerical
from ntkjax._layers.own_layers import layer, requires, supports_masking
from ntkjax._layers.own_maps import KernelMap, PositionMap
from ntkjax._layers.padding import Padding
from ntkjax._layers.pool import AvgPool, GlobalAvgPool, GlobalSumPool, SumPool
from ntkjax._layers.powers import Hermite, Monomial, Polynomial, RectifiedMonomial, Sign
from ntkjax._layers.rectifiers import ABRelu, Abs, LeakyRelu, Relu
from ntkjax._layers.recurrent import Recurrent
from ntkjax._layers.repetition import repeat
from ntkjax._layers.requirements import Bool, Diagonal
from ntkjax._layers.resize import ImageResize
from ntkjax._layers.sequences import Embedding, PositionalEncoding
from ntkjax._layers.smooth import (
    Elu,
    HardTanh,
    Mish,
    Selu,
    Sigmoid,
    Silu,
    Softplus,
    Swish,
    Tanh,
)
from ntkjax._layers.trigonometric import Cos, Gabor, Rbf, Sin

__all__ = [
    "ABRelu",
    "Abs",
    "Aggregate",
    "AggregateImplementation",
    "AttentionMechanism",
    "AvgPool",
    "BatchNorm",
    "Bool",
    "Conv",
    "ConvLocal",
    "ConvTranspose",
    "Cos",
    "Dense",
    "DepthwiseConv",
    "Diagonal",
    "DotGeneral",
    "Dropout",
    "Elementwise",
    "ElementwiseNumerical",
    "Elu",
    "Embedding",
    "Erf",
    "Exp",
    "ExpNormalized",
    "FanInConcat",
    "FanInProd",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gabor",
    "Gaussian",
    "Gelu",
    "GlobalAvgPool",
    "GlobalSelfAttention",
    "GlobalSumPool",
    "HardTanh",
    "Hermite",
    "Identity",
    "ImageResize",
    "Index",
    "KernelMap",
    "LayerNorm",
    "LeakyRelu",
    "MaskedArray",
    "MaxPool",
    "Mish",
    "Monomial",
    "Padding",
    "Polynomial",
    "PositionMap",
    "PositionalEmbedding",
    "PositionalEncoding",
    "Rbf",
    "RectifiedMonomial",
    "Recurrent",
    "Relu",
    "Selu",
    "Sigmoid",
    "Sigmoid_like",
    "Sign",
    "Silu",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "SumPool",
    "Swish",
    "Tanh",
    "layer",
    "parallel",
    "repeat",
    "requires",
    "serial",
    "supports_masking",
    "unmask_fn",
]
