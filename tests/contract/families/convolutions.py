"""Cases of convolutions other than `Conv`, and of `BatchNorm`."""

import numpy as np

from ntkjax.stax import (
    BatchNorm,
    Conv,
    ConvLocal,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    GlobalAvgPool,
    Relu,
)
from tests.contract import twins, twins_convolutions
from tests.contract.case import Case
from tests.contract.expectations import rectifier

RELU = twins.activation(rectifier(0.0, 1.0))
BIASED = {"W_std": 1.3, "b_std": 0.2}
STANDARD = {"parameterization": "standard", **BIASED}


def statistics(channels):
    """Means and variances of every channel."""
    return np.linspace(-0.5, 0.8, channels), np.linspace(0.6, 2.0, channels)


CASES = [
    Case(
        "Conv, groups", (),
        lambda n: [Dense(n), Conv(n, (2,), feature_group_count=2, **STANDARD), Relu()],
        twins.serial(
            twins.dense(), twins_convolutions.grouped_conv(2, (2,), **STANDARD), RELU
        ), (3, 2), widths=(32, 64),
    ),
    Case(
        "ConvLocal", ("ConvLocal",),
        lambda n: [
            ConvLocal(n, (2,), padding="CIRCULAR", **STANDARD), Relu(),
            ConvLocal(n, (2,), (2,), **BIASED), GlobalAvgPool(),
        ],
        twins.serial(
            twins_convolutions.conv_local((2,), padding="CIRCULAR", **STANDARD), RELU,
            twins_convolutions.conv_local((2,), (2,), **BIASED), twins.global_avg_pool(),
        ), (4, 2), widths=(64,),
    ),
    Case(
        "ConvTranspose", ("ConvTranspose",),
        lambda n: [ConvTranspose(n, (3, 3), (2, 3), "CIRCULAR", **BIASED), Relu()],
        twins.serial(
            twins_convolutions.conv_transpose((3, 3), (2, 3), "CIRCULAR", **BIASED), RELU
        ), (2, 1, 2),
    ),
    Case(
        "DepthwiseConv", ("DepthwiseConv",),
        lambda n: [
            Dense(n), Relu(),
            DepthwiseConv((2,), padding="SAME", depth_multiplier=2, **STANDARD), Dense(n, **BIASED),
        ],
        twins.serial(
            twins.dense(), RELU,
            twins_convolutions.depthwise_conv((2,), 2, padding="SAME", **STANDARD),
            twins.dense(**BIASED),
        ), (3, 2), widths=(64,),
    ),
    Case(
        "BatchNorm", ("BatchNorm",),
        lambda n: [Dense(n, **BIASED), BatchNorm(*statistics(n), 0.1), Dense(n), Relu()],
        twins.serial(
            twins.dense(**BIASED), twins_convolutions.batch_norm(statistics, 0.1), twins.dense(),
            RELU,
        ), (3,), widths=(32, 64),
    ),
]  # fmt: skip
