"""Every public layer, in a small network that it may stand in, with the shape of one input.

A new layer adds a line here and is thereby held to every law of this folder.
"""

from typing import Any, NamedTuple

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


class Case(NamedTuple):
    """A network, the public layers that it stands for, and the shape of one example."""

    name: str
    layers: tuple[str, ...]
    network: Any
    shape: Any


def conv(**options):
    return Conv(4, (3,), padding="SAME", W_std=1.3, b_std=0.2, **options)


CASES = [
    Case("Dense", ("Dense",), Dense(4, 1.5, 0.3), (3,)),
    Case("Dense, standard", (), Dense(4, 1.5, 0.3, parameterization="standard", s=(2, 3)), (4, 3)),
    Case("Conv", ("Conv",), Conv(4, (3, 2), (1, 2), W_std=1.5, b_std=0.3), (3, 4, 2)),
    Case("Conv, standard", (), conv(parameterization="standard", s=(1, 2)), (4, 2)),
    Case("Conv, circular and dilated", (), Conv(4, (3,), (2,), "CIRCULAR", dilation=(2,)), (5, 2)),
    Case("Conv, three axes", (), Conv(4, (2, 2, 2), padding="SAME"), (2, 3, 2, 2)),
    Case("Relu", ("Relu",), serial(Dense(4), Relu()), (3,)),
    Case("LeakyRelu", ("LeakyRelu",), serial(Dense(4), LeakyRelu(0.2)), (3,)),
    Case("Abs", ("Abs",), serial(Dense(4), Abs()), (3,)),
    Case("ABRelu", ("ABRelu",), serial(conv(), ABRelu(-0.5, 2.0)), (4, 2)),
    Case("Erf", ("Erf",), serial(conv(), Erf(1.1, 0.8, 0.3)), (4, 2)),
    Case("Gelu", ("Gelu",), serial(conv(), Gelu()), (4, 2)),
    Case("LayerNorm", ("LayerNorm",), serial(conv(), LayerNorm()), (4, 2)),
    Case("LayerNorm over space", (), serial(conv(), LayerNorm((1, 2))), (4, 2)),
    Case("AvgPool", ("AvgPool",), serial(conv(), AvgPool((2,), (2,), "SAME", True)), (5, 2)),
    Case("SumPool", ("SumPool",), serial(conv(), SumPool((3,), (2,), "CIRCULAR")), (5, 2)),
    Case("GlobalAvgPool", ("GlobalAvgPool",), serial(conv(), Relu(), GlobalAvgPool()), (4, 2)),
    Case("GlobalSumPool", ("GlobalSumPool",), serial(conv(), GlobalSumPool(), Relu()), (4, 2)),
    Case("Flatten", ("Flatten",), serial(conv(), Relu(), Flatten()), (4, 2)),
    Case("Identity", ("Identity",), Identity(), (4, 2)),
    Case("FanOut", ("FanOut",), FanOut(2), (4, 2)),
    Case(
        "FanInSum",
        ("FanInSum", "serial"),
        serial(Dense(4), FanOut(2), parallel(serial(Relu(), Dense(4)), Identity()), FanInSum()),
        (3,),
    ),
    Case(
        "parallel",
        ("parallel",),
        serial(parallel(Dense(4), parallel(conv(), Dense(4))), parallel(Relu(), FanInSum())),
        [(3,), [(4, 2), (4, 2)]],
    ),
    Case("repeat", ("repeat",), repeat(serial(Dense(4, 1.5, 0.1), Relu()), 2), (3,)),
]  # fmt: skip
