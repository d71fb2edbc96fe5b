"""Laws that the kernel of every layer obeys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import Kernel, stax
from tests.contract.registry import CASES
from tests.helpers import fast_jit

N = 3
every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def test_every_public_layer_is_registered():
    named = [name for case in CASES for name in case.layers]
    assert sorted(named) == sorted(stax.__all__), "a new layer adds a line to registry.py"
    assert len({case.name for case in CASES}) == len(CASES)


def shapes_of(shape, n):
    """Shapes of batches, for one input or a list of them."""
    return [shapes_of(s, n) for s in shape] if isinstance(shape, list) else (n, *shape)


def batch(shape, n, seed):
    """Random inputs; not zero, and no two alike."""
    if isinstance(shape, list):
        return [batch(s, n, seed + 10 * i) for i, s in enumerate(shape)]
    return np.random.default_rng(seed).normal(size=(n, *shape)) + 0.1


def kernels(value):
    """The kernels of all outputs."""
    return jax.tree.leaves(value, is_leaf=lambda k: isinstance(k, Kernel))


@functools.cache
def results(name):
    """All that the laws compare; calls share shapes, since compiling takes longest."""
    (case,) = (case for case in CASES if case.name == name)
    kernel_fn = case.network.kernel_fn
    x1, x2, direction = (batch(case.shape, N, seed) for seed in range(3))

    def value(held):
        """Some number that all entries of both kernels have a part in."""
        total = 0.0
        for kernel in kernels(held):
            weights = jnp.cos(jnp.arange(kernel.nngp.size)).reshape(kernel.nngp.shape)
            total += jnp.sum(weights * (kernel.nngp + kernel.ntk))
        return total

    def moved(step):
        return kernel_fn(jax.tree.map(lambda x, d: x + step * d, x1, direction), x2)

    doubled = jax.tree.map(lambda x: 2 * x, x2)
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), x2, doubled)
    single = jax.tree.map(lambda x: x.astype(np.float32), (x1, x2))
    return {
        # As users call it, and again with other values: nothing is compiled anew.
        "cross": kernel_fn(x1, x2),
        "twice": kernel_fn(x1, x1),
        "doubled": kernel_fn(x1, doubled),
        "secant": (value(moved(1e-5)) - value(moved(-1e-5))) / 2e-5,
        "one": fast_jit(kernel_fn)(x1),
        "single": fast_jit(kernel_fn)(*single),
        "spatial": fast_jit(lambda x1, x2: kernel_fn(x1, x2, diagonal_spatial=True))(x1, x2),
        "vmapped": fast_jit(jax.vmap(kernel_fn, (None, 0)))(x1, stacked),
        "gradient": fast_jit(jax.grad(lambda x1: value(kernel_fn(x1, x2))))(x1),
        "direction": direction,
    }


def close(actual, wanted, tolerance=1e-10):
    assert actual.shape == wanted.shape
    scale = np.max(np.abs(wanted))
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance * scale)


@every_case
@pytest.mark.parametrize("n2", [None, 2], ids=["one batch", "two batches"])
def test_shapes_agree_with_the_finite_network(case, n2):
    x1 = batch(case.shape, N, 0)
    x2 = None if n2 is None else batch(case.shape, n2, 1)
    out1, params = case.network.init_fn(jax.random.key(0), shapes_of(case.shape, N))
    applied = jax.eval_shape(case.network.apply_fn, params, x1)
    held = kernels(jax.eval_shape(case.network.kernel_fn, x1, x2))
    shapes = jax.tree.leaves(out1, is_leaf=lambda s: isinstance(s, tuple))
    arrays = jax.tree.leaves(applied)
    for kernel, shape, array in zip(held, shapes, arrays, strict=True):
        assert kernel.shape1 == shape == array.shape
        assert kernel.shape2 == ((n2 or N), *shape[1:])
        positions = tuple(size for size in shape[1:-1] for _ in range(2))
        assert kernel.nngp.shape == kernel.ntk.shape == (N, n2 or N, *positions)
        assert kernel.cov1.shape == (N, *positions)
        assert kernel.cov2 is None if n2 is None else kernel.cov2.shape == (n2, *positions)
        assert array.dtype == kernel.nngp.dtype == kernel.ntk.dtype == jnp.float64


@every_case
def test_one_batch_is_the_same_batch_twice(case):
    done = results(case.name)
    for one, twice in zip(kernels(done["one"]), kernels(done["twice"]), strict=True):
        for name in ("nngp", "ntk", "cov1"):
            close(getattr(one, name), getattr(twice, name), 1e-7)
        close(one.cov1, twice.cov2, 1e-7)
        assert one.x1_is_x2
        assert not twice.x1_is_x2


@every_case
def test_symmetric_and_positive_semidefinite(case):
    for kernel in kernels(results(case.name)["one"]):
        for array in (kernel.nngp, kernel.ntk):
            ndim = (array.ndim - 2) // 2
            first, second = range(0, 2 * ndim + 2, 2), range(1, 2 * ndim + 2, 2)
            size = int(np.sqrt(array.size))
            matrix = np.transpose(array, (*first, *second)).reshape(size, size)
            close(matrix, matrix.T, 1e-12)
            assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.max(np.abs(matrix))


@every_case
def test_variances_are_the_diagonal_of_all_pairs(case):
    done = results(case.name)
    for one, cross in zip(kernels(done["one"]), kernels(done["cross"]), strict=True):
        close(cross.cov1, one.cov1)
        close(one.cov1, np.stack([one.nngp[i, i] for i in range(N)]), 1e-7)


@every_case
def test_points_are_the_diagonal_of_all_positions(case):
    done = results(case.name)
    for spatial, full in zip(kernels(done["spatial"]), kernels(done["cross"]), strict=True):
        assert spatial.shape1 == full.shape1
        has_positions = full.nngp.ndim > 2
        assert spatial.diagonal_spatial == has_positions
        for name in ("nngp", "ntk", "cov1", "cov2"):
            wanted = np.asarray(getattr(full, name))
            lanes = 1 if name.startswith("cov") else 2
            for axis in range(lanes, lanes + (wanted.ndim - lanes) // 2):
                wanted = np.moveaxis(np.diagonal(wanted, axis1=axis, axis2=axis + 1), -1, axis)
            close(getattr(spatial, name), wanted)


@every_case
def test_float32_agrees_with_float64(case):
    done = results(case.name)
    for single, double in zip(kernels(done["single"]), kernels(done["cross"]), strict=True):
        for name in ("nngp", "ntk", "cov1", "cov2"):
            assert getattr(single, name).dtype == jnp.float32
            close(getattr(single, name), getattr(double, name), 3e-6)


@every_case
def test_vmap_agrees_with_plain(case):
    done = results(case.name)
    for i, plain in enumerate(("cross", "doubled")):
        for of_both, one in zip(kernels(done["vmapped"]), kernels(done[plain]), strict=True):
            for name in ("nngp", "ntk", "cov2"):
                close(getattr(of_both, name)[i], getattr(one, name))


@every_case
def test_gradients_agree_with_finite_differences(case):
    done = results(case.name)
    parts = jax.tree.map(lambda g, d: jnp.sum(g * d), done["gradient"], done["direction"])
    slope = sum(jax.tree.leaves(parts))
    np.testing.assert_allclose(slope, done["secant"], rtol=1e-6, atol=1e-7)
