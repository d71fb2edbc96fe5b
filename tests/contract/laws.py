"""Laws that the kernels of every case obey: functions of a `Case` that raise AssertionError.

What the laws compare is computed once for each case (`computed`), by as few programs as possible,
since compiling takes longest: one gives kernels and gradients in float64 at random points, at the
points moved by a step, and in the corners; one the same in float32; one all other ways to call
the kernel function; and two run in tiles.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntkjax
from ntkjax.stax import parallel, serial
from tests.contract import twins
from tests.contract.case import WIDTH, Case
from tests.contract.inputs import batch, corners, kernels_in, shapes_of
from tests.helpers import fast_jit

N = 3
FIELDS = ("nngp", "ntk", "cov1", "cov2")
#: Relative to the largest entry. In corners, angles below 1e-8 are all the same to the arccos of a
#: twin, which knows covariances alone; and in float32 exactly opposite points lose digits (ReLU).
TWIN, TWIN_IN_CORNERS = 1e-12, {np.float64: 1e-8, np.float32: 1e-3}
STEP = 1e-5
KEY = jax.random.key(0)


def close(actual: Any, wanted: Any, tolerance: float = 1e-10, name: str = "") -> None:
    """Within a part of the largest entry."""
    assert actual.shape == wanted.shape, f"{name}: {actual.shape} is not {wanted.shape}"
    scale = np.max(np.abs(wanted))
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def is_shape(value: Any) -> bool:
    """Whether a shape of one array, and not several of them."""
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)


def stored(shape: Any) -> Any:
    """A user's layer that does nothing, for which all pairs of positions are stored."""
    if not is_shape(shape):
        return parallel(*map(stored, shape))
    return (lambda rng, shape: (shape, ()), lambda params, x, **_: x, lambda kernel: kernel)


def with_stored_pairs(case: Case) -> Any:
    """The network of a case with `stored` after each of its layers."""
    shape, layers = shapes_of(case.shape, N), []
    for layer in case.network(WIDTH):
        shape, _ = layer[0](KEY, shape)
        layers += [layer, stored(shape)]
    return case.called(serial(*layers))


@functools.cache
def points(case: Case) -> tuple[Any, Any]:
    """Two batches in general position."""
    return batch(case.shape, N, 0), batch(case.shape, N, 1)


#: Cases whose gradients the older code generator of XLA gets wrong.
MISCOMPILED = ("masks, all positions",)


@functools.cache
def program(case: Case) -> Any:
    """Kernels of two batches, and gradients of a number that all their entries have a part in."""
    kernel_fn = case.built().kernel_fn

    def value(x1: Any, x2: Any) -> Any:
        kernels = kernels_in(kernel_fn(x1, x2))
        total = 0.0
        for array in [a for k in kernels for a in (k.nngp, k.ntk)]:
            weights = jnp.cos(jnp.arange(array.size, dtype=array.dtype)).reshape(array.shape)
            total += jnp.sum(weights * array)
        return total, kernels

    gradient = jax.value_and_grad(value, (0, 1), has_aux=True)
    return fast_jit(gradient, older_fusions=case.name not in MISCOMPILED)


@functools.cache
def computed(case: Case) -> dict[str, Any]:
    """Kernels of one case, called in all ways; of several outputs, a list."""
    network = case.built()
    x1, x2 = points(case)
    stacked = jax.tree.map(lambda a: np.stack([a, 2 * a]), x2)
    pairs = with_stored_pairs(case)

    def calls(x1: Any, x2: Any, stacked: Any) -> dict[str, Any]:
        return {
            "one batch": network.kernel_fn(x1),
            "equal positions": network.kernel_fn(x1, x2, diagonal_spatial=True),
            "stored": pairs.kernel_fn(x1, x2),
            "vmapped": jax.vmap(network.kernel_fn, (None, 0))(x1, stacked),
        }

    made = fast_jit(calls)(x1, x2, stacked)
    return {name: kernels_in(kernels) for name, kernels in made.items()}


@functools.cache
def expected(case: Case, seed: int | None = None) -> list[twins.Kernels]:
    """What the twin says of two batches in general position, or of the corners of a seed."""
    x1, x2 = points(case) if seed is None else corners(case.shape, seed)
    assert callable(case.twin)
    found = case.twin(twins.inputs(x1, x2, WIDTH))
    return jax.tree.leaves(found, is_leaf=lambda k: isinstance(k, twins.Kernels))


def agrees(kernels: list[Any], wanted: list[twins.Kernels], tolerance: float) -> None:
    """Kernels are those of a twin."""
    for kernel, twin in zip(kernels, wanted, strict=True):
        for name, of_twin in zip(FIELDS, ("cov", "ntk", "cov1", "cov2"), strict=True):
            matrices = twins.interleaved(getattr(twin, of_twin), twin.sizes)
            close(getattr(kernel, name), matrices, tolerance, name)


def same(kernels: list[Any], wanted: list[Any], tolerance: float) -> None:
    """Kernels are equal in all their arrays."""
    for kernel, other in zip(kernels, wanted, strict=True):
        for name in FIELDS:
            one, two = getattr(kernel, name), getattr(other, name)
            assert (one is None) == (two is None)
            if one is not None:
                close(one, two, tolerance, name)


# ---- the kernel is right


def twin_law(case: Case) -> None:
    """An independent computation gives the same."""
    (_, kernels), _ = program(case)(*points(case))
    agrees(kernels, expected(case), TWIN)


def corner_law(case: Case) -> None:
    """Equal, opposite, parallel, near-equal and zero points: right kernels, finite gradients."""
    for seed in range(2):
        for dtype, tolerance in TWIN_IN_CORNERS.items():
            points = jax.tree.map(dtype, corners(case.shape, seed))
            (value, kernels), gradients = program(case)(*points)
            for array in jax.tree.leaves((value, kernels, gradients)):
                assert array.dtype == dtype or array.dtype == bool
                assert np.all(np.isfinite(array))
            if callable(case.twin):
                agrees(kernels, expected(case, seed), tolerance)


def stored_law(case: Case) -> None:
    """Diagonals that stream give what all stored pairs of positions give."""
    same(computed(case)["stored"], program(case)(*points(case))[0][1], 1e-10)


def tiles_law(case: Case) -> None:
    """Several tiles give what one gives, of two batches and of one, inside one program.

    That cores share the tiles of a call by itself is the engine's business, whatever the layers:
    see tests/kernel/test_resources.py.
    """
    x1, x2 = points(case)
    kernel_fn = case.built().kernel_fn
    shapes = shapes_of(case.shape, N)
    forecasts = [kernel_fn.plan(shapes, shape2) for shape2 in (shapes, None)]
    assert all(forecast.tiles == 1 for forecast in forecasts)
    budget = max(min(forecast.bytes for forecast in forecasts) - 1, 1)
    with ntkjax.config.set(memory_budget=budget):
        assert all(kernel_fn.plan(shapes, shape2).tiles > 1 for shape2 in (shapes, None))
        tiled = fast_jit(lambda x1, x2: (kernel_fn(x1, x2), kernel_fn(x1)))(x1, x2)
    for made, whole in zip(
        tiled, (program(case)(x1, x2)[0][1], computed(case)["one batch"]), strict=True
    ):
        same(kernels_in(made), whole, 1e-12)


def gradient_law(case: Case) -> None:
    """Gradients are what finite differences are."""
    x1, x2 = points(case)
    _, gradients = program(case)(x1, x2)
    directions = batch(case.shape, N, 2), batch(case.shape, N, 3)

    def moved(step: float) -> float:
        return program(case)(*jax.tree.map(lambda x, d: x + step * d, (x1, x2), directions))[0][0]

    parts = jax.tree.map(lambda g, d: np.sum(g * d), gradients, directions)
    secant = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    np.testing.assert_allclose(sum(jax.tree.leaves(parts)), secant, rtol=1e-6, atol=1e-7)


def float32_law(case: Case) -> None:
    """In float32, kernels and gradients are those of float64, and of that type."""
    singles = jax.tree.map(lambda x: x.astype(np.float32), points(case))
    doubles = jax.tree.map(lambda x: x.astype(np.float64), singles)
    (_, single), gradient = program(case)(*singles)
    (_, double), wanted = program(case)(*doubles)
    for actual, exact in zip(single, double, strict=True):
        for name in FIELDS:
            assert getattr(actual, name).dtype == jnp.float32
            assert getattr(exact, name).dtype == jnp.float64
            close(getattr(actual, name), getattr(exact, name), 3e-6, name)
    for actual, exact in zip(*map(jax.tree.leaves, (gradient, wanted)), strict=True):
        assert (actual.dtype, exact.dtype) == (jnp.float32, jnp.float64)
        close(actual, exact, 2e-5, "gradient")


# ---- all ways to call give the same


def one_batch_law(case: Case) -> None:
    """One batch is the same batch twice; within a program, layers that draw numbers find out."""
    x1, _ = points(case)
    twice = program(case)(x1, x1)[0][1]
    for one, two in zip(computed(case)["one batch"], twice, strict=True):
        for name in ("nngp", "ntk", "cov1"):
            close(getattr(one, name), getattr(two, name), 1e-7, name)
        close(one.cov1, two.cov2, 1e-7, "cov2")
        assert one.cov2 is None
        assert one.x1_is_x2
        assert bool(two.x1_is_x2) == case.draws


def variance_law(case: Case) -> None:
    """Covariances of images with themselves are the diagonal of all pairs of images."""
    (_, pairs), _ = program(case)(*points(case))
    for one, cross in zip(computed(case)["one batch"], pairs, strict=True):
        close(cross.cov1, one.cov1)
        close(one.cov1, np.stack([one.nngp[i, i] for i in range(N)]), 1e-7)


def symmetry_law(case: Case) -> None:
    """Kernels of a batch with itself are symmetric and positive semi-definite."""
    for kernel in computed(case)["one batch"]:
        for array in (kernel.nngp, kernel.ntk):
            ndim = (array.ndim - 2) // 2
            first, second = range(0, 2 * ndim + 2, 2), range(1, 2 * ndim + 2, 2)
            size = int(np.sqrt(array.size))
            matrix = np.transpose(array, (*first, *second)).reshape(size, size)
            close(matrix, matrix.T, 1e-12)
            assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.max(np.abs(matrix))


def positions_law(case: Case) -> None:
    """With `diagonal_spatial`, equal positions are the diagonal of all pairs of positions."""
    (_, pairs), _ = program(case)(*points(case))
    for spatial, full in zip(computed(case)["equal positions"], pairs, strict=True):
        assert spatial.shape1 == full.shape1
        assert spatial.diagonal_spatial == (full.nngp.ndim > 2)
        for name in FIELDS:
            wanted = np.asarray(getattr(full, name))
            batches = 1 if name.startswith("cov") else 2
            for axis in range(batches, batches + (wanted.ndim - batches) // 2):
                wanted = np.moveaxis(np.diagonal(wanted, axis1=axis, axis2=axis + 1), -1, axis)
            close(getattr(spatial, name), wanted, name=name)


def vmap_law(case: Case) -> None:
    """`vmap` over second batches is one call after the other."""
    x1, x2 = points(case)
    for i, factor in enumerate((1, 2)):
        (_, plain), _ = program(case)(x1, jax.tree.map(lambda x, factor=factor: factor * x, x2))
        for of_both, one in zip(computed(case)["vmapped"], plain, strict=True):
            for name in ("nngp", "ntk", "cov2"):
                close(getattr(of_both, name)[i], getattr(one, name), name=name)


def shape_law(case: Case, n2: int | None) -> None:
    """Shapes and types are those of the finite network, for one batch (None) or two."""
    network, x1 = case.built(), batch(case.shape, N, 0)
    x2 = None if n2 is None else batch(case.shape, n2, 1)
    made, params = network.init_fn(KEY, shapes_of(case.shape, N))
    if case.is_finite:
        outputs = jax.eval_shape(lambda *args: network.apply_fn(*args, rng=KEY), params, x1)
        arrays = jax.tree.leaves(outputs)
    else:
        structs = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, float), made, is_leaf=is_shape)
        arrays = jax.tree.leaves(structs)
    held = kernels_in(jax.eval_shape(network.kernel_fn, x1, x2))
    shapes = jax.tree.leaves(made, is_leaf=is_shape)
    for kernel, shape, array in zip(held, shapes, arrays, strict=True):
        assert kernel.shape1 == shape == array.shape
        assert kernel.shape2 == ((n2 or N), *shape[1:])
        positions = tuple(size for size in shape[1:-1] for _ in range(2))
        assert kernel.nngp.shape == kernel.ntk.shape == (N, n2 or N, *positions)
        assert kernel.cov1.shape == (N, *positions)
        assert kernel.cov2 is None if n2 is None else kernel.cov2.shape == (n2, *positions)
        assert array.dtype == kernel.nngp.dtype == kernel.ntk.dtype == jnp.float64
