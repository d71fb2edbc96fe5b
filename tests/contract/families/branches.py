"""Cases of the layers that join branches, and of `Dropout`."""

from ntkjax.stax import (
    Conv,
    Dense,
    Dropout,
    Erf,
    FanInConcat,
    FanInProd,
    FanOut,
    GlobalAvgPool,
    Relu,
    parallel,
    serial,
)
from tests.contract import twins, twins_branches
from tests.contract.case import Case
from tests.contract.expectations import error_function, rectifier

RELU = twins.activation(rectifier(0.0, 1.0))
ERF = twins.activation(error_function())
CONV = {"W_std": 1.3, "b_std": 0.2}

CASES = [
    Case(
        "FanInProd", ("FanInProd",),
        lambda n: [
            FanOut(3),
            parallel(serial(Dense(n, 1.5, 0.2), Relu()), serial(Dense(n, 1.2, 0.4), Erf()),
                     Dense(n, 1.3, 0.1)),
            FanInProd(), Dense(n, 1.1, 0.3),
        ],
        twins.serial(
            twins.fan_out(3),
            twins.parallel(
                twins.serial(twins.dense(W_std=1.5, b_std=0.2), RELU),
                twins.serial(twins.dense(W_std=1.2, b_std=0.4), ERF),
                twins.dense(W_std=1.3, b_std=0.1),
            ),
            twins_branches.fan_in_prod(), twins.dense(W_std=1.1, b_std=0.3),
        ), (3,), widths=(64,),
    ),
    Case(
        "FanInConcat", ("FanInConcat",),
        lambda n: [
            FanOut(2),
            parallel(serial(Conv(n, (3,), padding="SAME", **CONV), Relu()),
                     Conv(2 * n, (2,), padding="SAME")),
            FanInConcat(), Conv(n, (2,), parameterization="standard", **CONV),
        ],
        twins.serial(
            twins.fan_out(2),
            twins.parallel(
                twins.serial(twins.conv((3,), padding="SAME", **CONV), RELU),
                # Twins know one width: the wider branch has twice the channels.
                twins.serial(
                    twins.conv((2,), padding="SAME"), twins_branches.with_channels(2),
                ),
            ),
            twins_branches.fan_in_concat_channels(),
            twins.conv((2,), parameterization="standard", **CONV),
        ), (4, 2), widths=(64,),
    ),
    Case(
        "FanInConcat, positions", (),
        lambda n: [
            FanOut(2),
            parallel(Conv(n, (2, 1), padding="CIRCULAR", **CONV), Conv(n, (2, 1), **CONV)),
            FanInConcat(1), Relu(), GlobalAvgPool(),
        ],
        twins.serial(
            twins.fan_out(2),
            twins.parallel(
                twins.conv((2, 1), padding="CIRCULAR", **CONV), twins.conv((2, 1), **CONV)
            ),
            twins_branches.fan_in_concat_positions(0), RELU, twins.global_avg_pool(),
        ), (3, 2, 2),
    ),
    Case(
        "Dropout", ("Dropout",),
        lambda n: [Conv(n, (2,), **CONV), Dropout(0.7), Conv(n, (2,), padding="SAME"), Relu()],
        twins.serial(
            twins.conv((2,), **CONV), twins_branches.dropout(0.7), twins.conv((2,), padding="SAME"),
            RELU,
        ), (4, 2), widths=(32, 64), draws=True,
    ),
]  # fmt: skip
