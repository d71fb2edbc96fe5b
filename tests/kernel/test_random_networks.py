"""Random small networks agree with a NumPy recursion over all pairs of positions."""

import numpy as np
import pytest

from tests.contract.twins import interleaved, tap_matrices
from tests.helpers import (
    abrelu,
    branches,
    conv,
    dense,
    erf,
    fast_jit,
    flatten,
    gelu,
    global_pool,
    identity,
    kernels_of_inputs,
    layer_norm,
    pool,
    serial,
)

PADDINGS = ("SAME", "VALID", "CIRCULAR")


def check(twin, sizes, channels=2, seed=0, symmetric=False):
    """All that a kernel holds agrees with the twin's."""
    rng = np.random.default_rng(seed)
    x1 = rng.normal(size=(2, *sizes, channels))
    x2 = x1 if symmetric else rng.normal(size=(3, *sizes, channels))
    expected = twin.act(kernels_of_inputs(x1, x2))
    kernel = fast_jit(twin.layer.kernel_fn)(x1, None if symmetric else x2)
    names = {"nngp": "cov", "ntk": "ntk", "cov1": "cov1"} | ({} if symmetric else {"cov2": "cov2"})
    for name, of_twin in names.items():
        wanted = interleaved(getattr(expected, of_twin), expected.sizes)
        actual = np.asarray(getattr(kernel, name))
        assert actual.shape == wanted.shape
        # The twin's arccos of a cosine near 1 is good to eight digits.
        atol = 1e-7 * max(1.0, np.max(np.abs(wanted)))
        np.testing.assert_allclose(actual, wanted, rtol=1e-7, atol=atol, err_msg=name)


class Draw:
    """Random layers for an image of given sizes, and the sizes that they leave."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        # One for all layers: branches that meet need the same width.
        self.parameterization = self.pick({}, {"parameterization": "standard", "s": (2, 3)})

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def window(self, sizes, dilate=True):
        """Taps, strides, dilation and padding of a window that fits."""
        while True:
            ndim = len(sizes)
            taps = tuple(int(n) for n in self.rng.integers(1, 4 if ndim < 3 else 3, ndim))
            strides = tuple(int(n) for n in self.rng.choice([1, 1, 2, 3], ndim))
            gaps = tuple(int(n) for n in self.rng.choice([1, 1, 2], ndim)) if dilate else None
            padding = self.pick(*PADDINGS)
            gaps_or_ones = gaps or (1,) * ndim
            fits = all(
                n >= d * (t - 1) + 1 for n, d, t in zip(sizes, gaps_or_ones, taps, strict=True)
            )
            if fits or padding == "SAME":
                _, left = tap_matrices(sizes, taps, strides, gaps_or_ones, padding)
                return taps, strides, gaps, padding, left

    def scales(self):
        options = {"W_std": self.rng.uniform(0.8, 1.8), **self.parameterization}
        if self.pick(True, False):
            options["b_std"] = self.rng.uniform(0.1, 0.9)
        return options

    def affine(self, sizes):
        if not sizes or self.rng.random() < 0.2:
            return dense(**self.scales()), sizes
        taps, strides, gaps, padding, left = self.window(sizes)
        return conv(taps, strides, padding, gaps, **self.scales()), left

    def nonlinear(self, sizes):
        if self.rng.random() < 0.2:
            over = tuple(i for i in range(len(sizes)) if self.pick(True, False))
            return layer_norm(over, self.pick(1e-12, 0.1))
        rectifier = self.pick(abrelu(0.0, 1.0), abrelu(-0.3, 1.2), abrelu(-1.0, 1.0))
        return self.pick(rectifier, erf(1.1, 0.8, 0.2), gelu())

    def pooling(self, sizes):
        taps, strides, _, padding, left = self.window(sizes, dilate=False)
        if self.pick(True, False):
            return pool("sum", taps, strides, padding), left
        return pool("avg", taps, strides, padding, self.pick(True, False)), left

    def block(self, sizes):
        """Layers after which the signal is Gaussian."""
        first, sizes = self.affine(sizes)
        layers = [first, self.nonlinear(sizes)]
        if sizes and self.rng.random() < 0.6:
            pooled, sizes = self.pooling(sizes)
            # Before the nonlinearity or after it.
            layers.insert(self.pick(1, 2), pooled)
            layers[-1:] = [self.nonlinear(sizes)] if layers[1] is pooled else layers[-1:]
        last, sizes = self.affine(sizes)
        return serial(*layers, last), sizes

    def residual(self, sizes):
        """A skip connection, or two branches that shrink the image each in its own way."""
        if self.pick(True, False):
            same = conv((3,) * len(sizes), padding="SAME", **self.scales())
            return branches(serial(self.nonlinear(sizes), same), identity()), sizes
        one, left = self.affine(sizes)
        for _ in range(20):
            two, other = self.affine(sizes)
            if other == left:
                return branches(serial(self.nonlinear(sizes), one), two), left
        return one, left

    def network(self, sizes):
        body, sizes = self.block(sizes)
        layers = [body]
        if sizes and self.rng.random() < 0.5:
            joined, sizes = self.residual(sizes)
            layers.append(joined)
        top = self.pick("none", "flatten", "avg", "sum")
        if top == "flatten":
            layers += [flatten(), dense(**self.scales()), abrelu(0.0, 1.0), dense()]
        elif top != "none":
            layers += [global_pool(top), self.nonlinear(()), dense(**self.scales())]
        return serial(*layers)


@pytest.mark.parametrize("seed", range(20))
def test_random_network(seed, request):
    if seed % 3 == 1:
        request.getfixturevalue("three_cores")
    draw = Draw(seed)
    ndim = draw.pick(1, 2) if seed % 12 else 3
    largest = {1: 8, 2: 6, 3: 4}[ndim]
    sizes = tuple(int(n) for n in draw.rng.integers(1, largest, ndim))
    check(draw.network(sizes), sizes, seed=seed, symmetric=seed % 4 == 0)


CASES = {
    "circular stride does not divide the size": (conv((3,), (2,), "CIRCULAR"), (5,)),
    "circular strides twice": (
        serial(conv((2,), (2,), "CIRCULAR"), erf(), conv((3,), (3,), "CIRCULAR")),
        (7,),
    ),
    "circular after valid": (
        serial(conv((3,)), abrelu(0.0, 1.0), conv((3,), padding="CIRCULAR")),
        (7,),
    ),
    "valid after circular": (
        serial(conv((3,), (2,), padding="CIRCULAR"), abrelu(0.0, 1.0), conv((2,), (2,))),
        (9,),
    ),
    "circular filter wider than the ring": (conv((4,), (1,), "CIRCULAR", (2,)), (3,)),
    "same filter wider than the image": (conv((5, 4), None, "SAME"), (2, 3)),
    "even filter": (
        serial(conv((4, 2), (2, 1), "SAME"), erf(), conv((2, 2), None, "SAME")),
        (5, 4),
    ),
    "stride larger than the filter": (conv((1,), (3,)), (8,)),
    "branches whose strides differ and shapes agree": (
        branches(conv((3,), (1,), "SAME"), conv((2,), (2,), "SAME")),
        (1,),
    ),
    "branches of valid and strided": (
        branches(serial(conv((4,)), abrelu(0.0, 1.0), conv((1,))), conv((2,), (2,), "SAME")),
        (6,),
    ),
    "branch of a ring and branch without": (
        branches(conv((3,), None, "CIRCULAR"), conv((3,), None, "SAME")),
        (5,),
    ),
    "pool on the inputs": (serial(pool("avg", (2, 2), (2, 2)), conv((2, 1)), erf()), (5, 4)),
    "pool after pool": (
        serial(conv((2,)), pool("avg", (2,), None, "SAME", True), pool("sum", (3,), (2,)), erf()),
        (8,),
    ),
    "normalised edges, then a nonlinearity": (
        serial(conv((1, 2)), pool("avg", (3, 3), (2, 2), "SAME", True), abrelu(0.0, 1.0)),
        (5, 4),
    ),
    "edges not normalised, then a nonlinearity": (
        serial(conv((1, 2)), pool("avg", (3, 3), (2, 2), "SAME"), abrelu(0.0, 1.0)),
        (5, 4),
    ),
    "circular pool, then a nonlinearity": (
        serial(conv((2,)), pool("sum", (3,), (2,), "CIRCULAR"), erf(), conv((1,))),
        (7,),
    ),
    "circular pool wider than the ring": (
        serial(conv((1,)), pool("avg", (5,), None, "CIRCULAR"), erf()),
        (3,),
    ),
    "nonlinearities after a global pool": (
        serial(
            conv((2, 2), None, "SAME"), erf(), global_pool("avg"),
            dense(b_std=0.3), abrelu(0.0, 1.0), dense(), erf(),
        ),
        (3, 4),
    ),
    "nonlinearity straight after a global pool": (
        serial(conv((3,), None, "SAME"), global_pool("sum"), abrelu(-0.5, 1.0)),
        (5,),
    ),
    "LayerNorm over space": (
        serial(conv((2, 2)), layer_norm((0, 1)), conv((2, 1)), layer_norm((1,)), abrelu(0.0, 1.0)),
        (4, 4),
    ),
    "LayerNorm, then a pool and a nonlinearity": (
        serial(conv((2,)), layer_norm((0,)), conv((1,)), pool("avg", (2,)), erf(), conv((2,))),
        (6,),
    ),
    "no spatial axis": (serial(dense(), abrelu(0.0, 1.0), dense()), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_corner(name):
    # One batch or two, in turn.
    check(*CASES[name], symmetric=list(CASES).index(name) % 2 == 0)
