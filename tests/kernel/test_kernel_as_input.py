"""A `Kernel` is an input like any other: whatever holds its numbers, wherever they are."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax.stax import (
    Aggregate,
    Conv,
    Dense,
    Erf,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    Relu,
    serial,
)

X = np.random.default_rng(0).normal(size=(4, 3))
FIRST, SECOND = serial(Dense(1), Relu()).kernel_fn, serial(Dense(1), Relu(), Dense(1)).kernel_fn
KERNEL, SYMMETRIC = FIRST(X, X[:2]), FIRST(X)
FIELDS = ("nngp", "ntk", "cov1", "cov2")


def held_as(kernel, make):
    """The same kernel, each array as what `make` makes of it."""
    fields = {n: getattr(kernel, n) for n in FIELDS if getattr(kernel, n) is not None}
    return kernel.replace(**{name: make(np.asarray(array)) for name, array in fields.items()})


@pytest.mark.parametrize("kernel", [KERNEL, SYMMETRIC], ids=["cross", "symmetric"])
@pytest.mark.parametrize(
    ("make", "dtype", "rtol"),
    [
        (np.asarray, np.float64, 1e-7),
        (np.ndarray.tolist, np.float64, 1e-7),
        (lambda a: a.astype(">f8"), np.float64, 1e-7),
        (np.float32, np.float32, 1e-5),
        (np.float16, np.float32, 1e-2),
        (jnp.bfloat16, np.float32, 5e-2),
    ],
    ids=["NumPy", "lists", "big-endian", "float32", "float16", "bfloat16"],
)
def test_a_kernel_holds_any_numbers(kernel, make, dtype, rtol):
    """Without its distance, a kernel has the angles of equal points to half of the digits."""
    whole = SECOND(kernel, get="ntk")
    held = SECOND(held_as(kernel, make), get="ntk")
    assert held.dtype == dtype
    np.testing.assert_allclose(held, whole, rtol=rtol)


def test_fields_of_several_dtypes_take_the_widest():
    mixed = KERNEL.replace(cov1=jnp.float32(KERNEL.cov1), x1_is_x2=False)
    assert SECOND(mixed, get="ntk").dtype == np.float64


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        ({"nngp": KERNEL.nngp * np.nan}, ["x1.nngp must be finite", "8 NaN", "(0, 0)"]),
        ({"ntk": KERNEL.ntk.at[1, 0].set(np.inf)}, ["x1.ntk must be finite", "(1, 0)"]),
        ({"cov2": KERNEL.cov2 * np.nan}, ["x1.cov2 must be finite", "drop or fill"]),
        ({"cov2": None}, ["x1.cov2 is None", "of 4 and 2", "keep the cov2"]),
        ({"nngp": [[1.0]]}, ["kernel.nngp must have shape (4, 2)", "(1, 1) came"]),
        ({"nngp": None}, ["x1.nngp is None", "get=None"]),
    ],
    ids=["NaN", "infinity", "NaN variance", "no cov2", "another shape", "no nngp"],
)
def test_a_wrong_field_is_named(change, phrases):
    with pytest.raises(ValueError) as caught:
        SECOND(KERNEL.replace(**change), get="ntk")
    assert [phrase for phrase in phrases if phrase not in str(caught.value)] == [], caught.value


def test_a_kernel_of_different_batches_of_one_size_needs_both_variances():
    cross = FIRST(X[:2], X[2:])
    with pytest.raises(ValueError, match="cov2 is None, which stands for a batch with itself"):
        SECOND(cross.replace(cov2=None), get="ntk")


ON_TWO_DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import ntkjax
from ntkjax.stax import *
first, second = jax.devices()
x = np.random.default_rng(0).normal(size=(4, 3))
below, above = serial(Dense(1), Relu()).kernel_fn, serial(Dense(1), Relu(), Dense(1)).kernel_fn
kernel = below(x, x[:2])
exact = above(kernel, get="ntk")
here, there = jax.device_put(x, second), jax.device_put(x[:2], first)
scattered = kernel.replace(
    nngp=jax.device_put(kernel.nngp, second), cov1=jax.device_put(kernel.cov1, first),
    cov2=np.asarray(kernel.cov2), ntk=jax.device_put(kernel.ntk, first))
for devices in (None, first, second):
    with ntkjax.config.set(devices=devices):
        for found in (above(below(here, there), get="ntk"), above(scattered, get="ntk")):
            np.testing.assert_allclose(found, exact, rtol=1e-7)
            assert found.devices() == {second}, found.devices()
"""


def test_inputs_on_several_devices_meet_on_the_first_ones():
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("b_std", [None, 0.1])
def test_two_networks_in_a_row_are_as_exact_as_one(b_std):
    """Ten layers and ten more, of points of any size and nearly equal ones, in float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 50))
    near = x + 1e-3 * rng.normal(size=x.shape)
    points = np.concatenate([x, 1.001 * x, -3 * x, 1e3 * x, near]).astype(np.float32)
    layers = [layer for _ in range(10) for layer in (Dense(1, 2**0.5, b_std), Relu())]
    lower, upper = serial(*layers, Dense(1, 2**0.5, b_std)), serial(Relu(), *layers[:-1])
    exact = serial(lower, upper).kernel_fn(points.astype(float), None, ("nngp", "ntk"))
    found = upper.kernel_fn(lower.kernel_fn(points), get=("nngp", "ntk"))
    for one, other in zip(found, exact, strict=True):
        size = np.sqrt(np.outer(np.diag(other), np.diag(other)))
        assert np.max(np.abs(np.asarray(one, float) - np.asarray(other)) / size) < 2e-6


def test_a_kernel_of_equal_positions_goes_as_far_as_these_suffice():
    x = np.random.default_rng(3).normal(size=(3, 5, 4, 2))
    below = Dense(1, b_std=0.1)
    conv = serial(Conv(1, (3, 1), (2, 1), padding="SAME"), Erf())
    flat = serial(LayerNorm(), Flatten())
    for x2, options, above in ((None, {}, conv), (x[:2], {"mask_constant": x[0, 0, 0, 0]}, flat)):
        held, full = (
            below.kernel_fn(x, x2, diagonal_spatial=equal, **options) for equal in (True, False)
        )
        made, wanted = above.kernel_fn(held), above.kernel_fn(full, diagonal_spatial=True)
        assert made.diagonal_spatial == wanted.diagonal_spatial == (above is conv)
        for name in (*FIELDS, "distance"):
            one, other = getattr(made, name), getattr(wanted, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-12, err_msg=name)
    for above, options in ((GlobalAvgPool(), {}), (Dense(1), {"diagonal_spatial": False})):
        with pytest.raises(ValueError, match=r"equal positions alone.*without diagonal_spatial"):
            above.kernel_fn(held, **options)
    with pytest.raises(ValueError, match=r"over equal positions .*diagonal_spatial is True"):
        Dense(1).kernel_fn(full.replace(diagonal_spatial=True))


# ---- keywords of the call


def test_a_kernel_comes_with_the_graphs_of_its_images():
    """Of two batches, of one, and of one with two graphs for each of its examples."""
    x = np.random.default_rng(1).normal(size=(5, 4, 2))
    graphs = np.random.default_rng(2).normal(size=(5, 4, 4))
    below, above = serial(Dense(1), Relu()), serial(Aggregate(), Dense(1), Relu())

    def ways(x1, x2, pattern):
        return (
            above.kernel_fn(below.kernel_fn(x1, x2), pattern=pattern),
            serial(below, above).kernel_fn(x1, x2, pattern=pattern),
        )

    cross = (graphs[:3], graphs[3:])
    for given in ((x[:3], x[3:], cross), (x, None, graphs), (x, None, (graphs, graphs[::-1]))):
        two_steps, whole = ways(*given)
        for field in ("nngp", "ntk", "cov1"):
            actual, wanted = getattr(two_steps, field), getattr(whole, field)
            np.testing.assert_allclose(actual, wanted, rtol=1e-7, atol=1e-7)


def test_a_kernel_has_its_masks_or_none():
    """`mask_constant` is known to a kernel that has masks, and to no other."""
    x = np.where(np.arange(4)[None, :, None] < 3, np.ones((2, 4, 3)), np.nan)
    above = serial(Dense(1, b_std=0.5), Relu(), GlobalAvgPool())
    masked = Dense(1).kernel_fn(x, mask_constant=np.nan)
    np.testing.assert_allclose(
        above.kernel_fn(masked, None, "ntk", mask_constant=np.nan),
        above.kernel_fn(masked, None, "ntk"),
    )
    with pytest.raises(ValueError, match=r"a Kernel without masks.*set its mask1 and mask2"):
        above.kernel_fn(Dense(1).kernel_fn(np.ones((2, 4, 3))), mask_constant=np.nan)
