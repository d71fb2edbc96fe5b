"""Cases of the layers that most networks are made of, and of networks of several of them."""

from ntkjax.stax import (
    ABRelu,
    Abs,
    AvgPool,
    Conv,
    Dense,
    Erf,
    FanInSum,
    FanOut,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GlobalSumPool,
    Identity,
    LayerNorm,
    LeakyRelu,
    Relu,
    SumPool,
    parallel,
    repeat,
    serial,
)
from tests.contract import twins
from tests.contract.case import Case
from tests.contract.expectations import (
    by_quadrature,
    error_function,
    gelu,
    gelu_slope,
    rectifier,
    scaled_erf,
    scaled_erf_slope,
)

CONV = {"padding": "SAME", "W_std": 1.3, "b_std": 0.2}
STANDARD = {"parameterization": "standard", "s": (2, 3)}


def conv(n, **options):
    return Conv(n, (3,), **CONV, **options)


def conv_twin(**options):
    return twins.conv((3,), **CONV, **options)


def nonlinear(expectations):
    """The twin of a nonlinearity after `conv`."""
    return twins.serial(conv_twin(), twins.activation(expectations))


def after_dense(expectations):
    """The twin of a nonlinearity after `Dense(n)`."""
    return twins.serial(twins.dense(), twins.activation(expectations))


RELU = twins.activation(rectifier(0.0, 1.0))
ERF = twins.activation(error_function())

CASES = [
    Case(
        "Dense", ("Dense",),
        lambda n: [Dense(n, 1.5, 0.3)],
        twins.dense(W_std=1.5, b_std=0.3), (3,),
    ),
    Case(
        "Dense, standard", (),
        lambda n: [Dense(n, 1.5, 0.3, **STANDARD)],
        twins.dense(W_std=1.5, b_std=0.3, **STANDARD), (4, 3),
    ),
    Case(
        "Conv", ("Conv",),
        lambda n: [Conv(n, (3, 2), (1, 2), W_std=1.5, b_std=0.3)],
        twins.conv((3, 2), (1, 2), W_std=1.5, b_std=0.3), (3, 4, 2),
    ),
    Case(
        "Conv, standard", (),
        lambda n: [conv(n, parameterization="standard", s=(1, 2))],
        conv_twin(parameterization="standard", s=(1, 2)), (4, 2),
    ),
    Case(
        "Conv, circular and dilated", (),
        lambda n: [Conv(n, (3,), (2,), "CIRCULAR", dilation=(2,))],
        twins.conv((3,), (2,), "CIRCULAR", (2,)), (5, 2),
    ),
    Case(
        "Conv, three axes", (),
        lambda n: [Conv(n, (2, 2, 2), padding="SAME")],
        twins.conv((2, 2, 2), padding="SAME"), (2, 3, 2, 2),
    ),
    Case(
        "Relu", ("Relu",),
        lambda n: [Dense(n), Relu()],
        after_dense(rectifier(0.0, 1.0)), (3,),
    ),
    Case(
        "LeakyRelu", ("LeakyRelu",),
        lambda n: [Dense(n), LeakyRelu(0.2)],
        after_dense(rectifier(0.2, 1.0)), (3,),
    ),
    Case(
        "Abs", ("Abs",),
        lambda n: [Dense(n), Abs()],
        after_dense(rectifier(-1.0, 1.0)), (3,),
    ),
    Case(
        "ABRelu", ("ABRelu",),
        lambda n: [conv(n), ABRelu(-0.5, 2.0)],
        nonlinear(rectifier(-0.5, 2.0)), (4, 2),
    ),
    Case(
        "Erf", ("Erf",),
        lambda n: [conv(n), Erf(1.1, 0.8, 0.3)],
        nonlinear(by_quadrature(scaled_erf(1.1, 0.8, 0.3), scaled_erf_slope(1.1, 0.8))), (4, 2),
    ),
    Case(
        "Gelu", ("Gelu",),
        lambda n: [conv(n), Gelu()],
        nonlinear(by_quadrature(gelu, gelu_slope)), (4, 2),
    ),
    Case(
        "LayerNorm", ("LayerNorm",),
        lambda n: [conv(n), LayerNorm()],
        twins.serial(conv_twin(), twins.layer_norm()), (4, 2),
    ),
    Case(
        "LayerNorm over space", (),
        lambda n: [conv(n), LayerNorm((1, 2), 0.1)],
        twins.serial(conv_twin(), twins.layer_norm((0,), 0.1)), (4, 2),
    ),
    Case(
        "AvgPool", ("AvgPool",),
        lambda n: [conv(n), AvgPool((2,), (2,), "SAME", True)],
        twins.serial(conv_twin(), twins.avg_pool((2,), (2,), "SAME", True)), (5, 2),
    ),
    Case(
        "SumPool", ("SumPool",),
        lambda n: [conv(n), SumPool((3,), (2,), "CIRCULAR")],
        twins.serial(conv_twin(), twins.sum_pool((3,), (2,), "CIRCULAR")), (5, 2),
    ),
    Case(
        "GlobalAvgPool", ("GlobalAvgPool",),
        lambda n: [conv(n), Relu(), GlobalAvgPool()],
        twins.serial(conv_twin(), RELU, twins.global_avg_pool()), (4, 2),
    ),
    Case(
        "GlobalSumPool", ("GlobalSumPool",),
        lambda n: [conv(n), GlobalSumPool(), Relu()],
        twins.serial(conv_twin(), twins.global_sum_pool(), RELU), (4, 2),
    ),
    Case(
        "Flatten", ("Flatten",),
        lambda n: [conv(n), Relu(), Flatten()],
        twins.serial(conv_twin(), RELU, twins.flatten()), (4, 2),
    ),
    Case("Identity", ("Identity",), lambda n: [Identity()], twins.identity(), (4, 2)),
    Case("FanOut", ("FanOut",), lambda n: [FanOut(2)], twins.fan_out(2), (4, 2)),
    Case(
        "FanInSum", ("FanInSum", "serial"),
        lambda n: [
            Dense(n), FanOut(2), parallel(serial(Relu(), Dense(n)), Identity()), FanInSum(),
        ],
        twins.serial(
            twins.dense(), twins.fan_out(2),
            twins.parallel(twins.serial(RELU, twins.dense()), twins.identity()), twins.fan_in_sum(),
        ), (3,), widths=(64,),
    ),
    Case(
        "parallel", ("parallel",),
        lambda n: [parallel(Dense(n), parallel(conv(n), Dense(n))), parallel(Relu(), FanInSum())],
        twins.serial(
            twins.parallel(twins.dense(), twins.parallel(conv_twin(), twins.dense())),
            twins.parallel(RELU, twins.fan_in_sum()),
        ), [(3,), [(4, 2), (4, 2)]],
    ),
    Case(
        "repeat", ("repeat",),
        lambda n: [repeat(serial(Dense(n, 1.3, 0.2), Erf()), 2)],
        twins.repeat(twins.serial(twins.dense(W_std=1.3, b_std=0.2), ERF), 2), (3,),
        widths=(32, 64),
    ),
    Case(
        "two layers, standard", (),
        lambda n: [
            Dense(n, 1.3, 0.2, parameterization="standard", s=(1, 2)), Erf(),
            Dense(n, 1.2, 0.1, parameterization="standard", s=(2, 1)),
        ],
        twins.serial(
            twins.dense(W_std=1.3, b_std=0.2, parameterization="standard", s=(1, 2)), ERF,
            twins.dense(W_std=1.2, b_std=0.1, parameterization="standard", s=(2, 1)),
        ), (3,), widths=(32,),
    ),
    Case(
        "strides and a pool between", (),
        lambda n: [
            Conv(n, (3,), (2,), W_std=1.3), Relu(), AvgPool((2,), (2,), "SAME"),
            Conv(n, (2,), padding="CIRCULAR", b_std=0.2), GlobalAvgPool(),
        ],
        twins.serial(
            twins.conv((3,), (2,), W_std=1.3), RELU, twins.avg_pool((2,), (2,), "SAME"),
            twins.conv((2,), padding="CIRCULAR", b_std=0.2), twins.global_avg_pool(),
        ), (7, 2), widths=(32,),
    ),
    Case(
        "residual convolution", (),
        lambda n: [
            conv(n), FanOut(2), parallel(serial(Erf(), conv(n)), Identity()), FanInSum(), Flatten(),
        ],
        twins.serial(
            conv_twin(), twins.fan_out(2),
            twins.parallel(twins.serial(ERF, conv_twin()), twins.identity()), twins.fan_in_sum(),
            twins.flatten(),
        ), (4, 2), widths=(32,),
    ),
]  # fmt: skip
