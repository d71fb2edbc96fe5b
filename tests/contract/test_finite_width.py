"""Finite networks approach their kernels at the rate 1/sqrt(width).

For each network, NNGP (mean of products over the channels of the last hidden layer) and NTK (of one
output on top) of SEEDS random networks are compared with `kernel_fn`. A single network may deviate
by CONSTANT / sqrt(width) (root mean square over seeds, relative to the kernel), their mean by
1/sqrt(SEEDS) of that, and 8 times the width must divide the deviation by about sqrt(8) = 2.8.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    serial,
)
from tests.helpers import fast_jit

WIDTHS = (32, 256)
SEEDS = 32
CONSTANT = 5.0
RATIO = (1.8, 4.5)


def dense(width, options):
    return Dense(width, 1.4, 0.3, **options)


def conv(width, options, taps=(3,), strides=None, padding="SAME", dilation=None):
    return Conv(width, taps, strides, padding, 1.4, 0.3, dilation=dilation, **options)


def points(*hidden):
    """Layers, a function of width and options each, between inputs of 4 channels and an output."""
    return (4,), lambda width, options: serial(*(layer(width, options) for layer in hidden))


def images(sizes, *hidden):
    return (*sizes, 2), points(*hidden)[1]


def fixed(layer):
    return lambda width, options: layer


def windows(**kwargs):
    return functools.partial(conv, **kwargs)


def skip(*hidden):
    def build(width, options):
        branch = serial(*(layer(width, options) for layer in hidden))
        return serial(FanOut(2), parallel(branch, Identity()), FanInSum())

    return build


relu = fixed(Relu())
NETWORKS = {
    "Relu": points(dense, relu, dense, relu),
    "Erf, LayerNorm, LeakyRelu": points(
        dense, fixed(Erf(1.2, 0.8, 0.1)), dense, fixed(LayerNorm()), fixed(LeakyRelu(0.3))
    ),
    "Gelu": points(dense, fixed(Gelu()), dense, fixed(Gelu())),
    "Abs, skip, ABRelu": points(dense, skip(fixed(Abs()), dense), fixed(ABRelu(-0.5, 1.5))),
    "Conv VALID and SAME, strides": images(
        (7,), windows(padding="VALID", strides=(2,)), relu, windows(taps=(2,)), relu
    ),
    "Conv CIRCULAR, strides, dilation": images(
        (5,),
        windows(padding="CIRCULAR", strides=(2,), dilation=(2,)),
        relu,
        windows(padding="CIRCULAR"),
    ),
    "two axes, AvgPool": images(
        (4, 3),
        windows(taps=(3, 2)),
        fixed(AvgPool((2, 2), (2, 1), "SAME", normalize_edges=True)),
        relu,
    ),
    "SumPool, GlobalAvgPool": images(
        (5,), conv, fixed(SumPool((2,), (2,), "CIRCULAR")), relu, fixed(GlobalAvgPool()), dense
    ),
    "GlobalSumPool": images((4,), conv, fixed(GlobalSumPool()), relu),
    "LayerNorm over space, skip, Flatten": images(
        (3,), conv, fixed(LayerNorm((1, 2))), skip(relu, conv), fixed(Flatten()), dense, relu
    ),
}
# Every layer with weights; the others know nothing of parameterizations.
IN_STANDARD = ["Relu", "Conv VALID and SAME, strides"]
PARAMETERIZATIONS = {"ntk": {}, "standard": {"parameterization": "standard", "s": (2, 2)}}


def network_of(name, parameterization, width):
    """Inputs, and the network with two outputs: its last hidden layer, and one number on top."""
    shape, build = NETWORKS[name]
    options = PARAMETERIZATIONS[parameterization]
    x = np.random.default_rng(0).normal(size=(3, *shape))
    body = build(width, options)
    top = Dense(1, **{**options, "s": (1, 1)})
    if len(jax.eval_shape(body.kernel_fn, x).shape1) > 2:
        top = serial(Flatten(), top)
    return x, serial(body, FanOut(2), parallel(Identity(), top))


@functools.cache
def exact(name, parameterization, width):
    """NNGP of the last hidden layer, NTK of the output."""
    if parameterization == "ntk" and width != WIDTHS[0]:
        return exact(name, parameterization, WIDTHS[0])  # which no width changes
    x, network = network_of(name, parameterization, width)

    def kernels(x):
        hidden, output = network.kernel_fn(x)
        return hidden.nngp, output.ntk

    return fast_jit(kernels)(x.astype(np.float32))


def gaps(name, parameterization, width):
    """Relative deviations of NNGP and NTK from the exact ones, one entry per network."""
    x, network = network_of(name, parameterization, width)

    def sample(key):
        _, params = network.init_fn(key, x.shape)
        hidden = network.apply_fn(params, x)[0]

        def output(params, point):
            return network.apply_fn(params, point[None])[1][0, 0]

        jacobians = jax.vmap(jax.grad(output), (None, 0))(params, x)
        products = (
            jnp.einsum("ip,jp->ij", j.reshape(len(x), -1), j.reshape(len(x), -1))
            for j in jax.tree.leaves(jacobians)
        )
        axes = hidden.ndim - 2
        # Interleaved: (n, n, h, h, w, w).
        letters = [("pq", "rs", "tu")[i] for i in range(axes)]
        first, second = ("".join(pair[side] for pair in letters) for side in range(2))
        nngp = jnp.einsum(f"a{first}c,b{second}c->ab{''.join(letters)}", hidden, hidden)
        return nngp / hidden.shape[-1], sum(products)

    keys = jax.random.split(jax.random.key(1), SEEDS)
    samples = fast_jit(lambda keys: jax.lax.map(sample, keys))(keys)
    return {
        kernel: (np.asarray(found) - wanted) / np.sqrt(np.mean(np.square(wanted)))
        for kernel, found, wanted in zip(
            ("nngp", "ntk"), samples, exact(name, parameterization, width), strict=True
        )
    }


def rms(array):
    return float(np.sqrt(np.mean(np.square(array))))


@pytest.mark.parametrize(
    ("name", "parameterization"),
    [(name, "ntk") for name in NETWORKS] + [(name, "standard") for name in IN_STANDARD],
)
def test_converges_at_the_rate(name, parameterization):
    found = [gaps(name, parameterization, width) for width in WIDTHS]
    for kernel in ("nngp", "ntk"):
        single = [rms(gap[kernel]) for gap in found]
        mean = [rms(np.mean(gap[kernel], 0)) for gap in found]
        for width, one, of_mean in zip(WIDTHS, single, mean, strict=True):
            assert one <= CONSTANT / np.sqrt(width)
            # The mean over networks keeps the finite-width bias of order 1 / width.
            assert of_mean <= CONSTANT / np.sqrt(width * SEEDS) + 1 / width
        assert RATIO[0] <= single[0] / single[1] <= RATIO[1]
