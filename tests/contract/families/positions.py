"""Cases of layers that choose or mix positions by fixed weights."""

import numpy as np

from ntkjax.stax import (
    AvgPool,
    Conv,
    Dense,
    DotGeneral,
    ImageResize,
    Index,
    KernelMap,
    Padding,
    PositionMap,
    Relu,
    Slice,
    layer,
    requires,
    supports_masking,
)
from tests.contract import twins
from tests.contract.case import Case
from tests.contract.expectations import rectifier
from tests.contract.twins_positions import along_axes, chosen, triangle, without_axes

SAME = {"padding": "SAME", "W_std": 1.3, "b_std": 0.2}
RELU = twins.activation(rectifier(0.0, 1.0))
BELOW = twins.serial(twins.conv((3,), **SAME), RELU)
ABOVE = twins.serial(twins.dense(W_std=1.2, b_std=0.1), RELU)
WEIGHTS = np.array([0.7, -1.2, 0.4, 2.0])


def between(layer):
    """A layer between two nonlinearities: both ask for distances."""
    return lambda n: [Conv(n, (3,), **SAME), Relu(), layer, Dense(n, 1.2, 0.1), Relu()]


def mirrored(x):
    """The mean of an image and its mirror image."""
    return 0.5 * (x + x[:, ::-1])


MIRRORED = 0.5 * (np.eye(4) + np.eye(4)[::-1])


@layer
@supports_masking(remask_kernel=False)
def Twice():
    """A layer in the way of neural-tangents."""

    @requires(batch_axis=0, channel_axis=-1)
    def kernel_fn(k, **kwargs):
        return k * 2

    init_fn = lambda rng, shape: (shape, ())  # noqa: E731
    return init_fn, lambda params, x, **kwargs: 2 * x, kernel_fn, lambda mask, shape: mask


def between_twin(*layers):
    return twins.serial(BELOW, *layers, ABOVE)


CASES = [
    Case(
        "Index", ("Index", "Slice"), between(Index(Slice[:, 4:0:-2])),
        between_twin(along_axes(chosen(5, [4, 2]))), (5, 2), widths=(32, 64),
    ),
    Case(
        "ImageResize", ("ImageResize",), between(ImageResize((-1, 3, -1), "linear")),
        between_twin(along_axes(triangle(5, 3, widens=True))), (5, 2), widths=(32, 64),
    ),
    Case(
        "DotGeneral", ("DotGeneral",),
        between(DotGeneral(rhs=WEIGHTS, dimension_numbers=(((1,), (0,)), ((), ())))),
        between_twin(along_axes(WEIGHTS[None]), without_axes(0)), (4, 2), widths=(32, 64),
    ),
    Case(
        "PositionMap", ("PositionMap",), between(PositionMap(mirrored)),
        between_twin(along_axes(MIRRORED)), (4, 2), widths=(32, 64),
    ),
    Case(
        "KernelMap", ("KernelMap", "layer", "requires", "supports_masking"),
        lambda n: [Dense(n, 1.2), KernelMap(lambda x: 0.5 * x, lambda k, *own: 0.25 * k), Twice()],
        twins.dense(W_std=1.2), (2, 2),
    ),
    Case(
        "Padding", ("Padding",),
        lambda n: [Conv(n, (3,), padding=Padding.SAME), AvgPool((2,), padding=Padding.VALID)],
        twins.serial(twins.conv((3,), padding="SAME"), twins.avg_pool((2,))), (4, 2),
    ),
]  # fmt: skip
