"""Index, ImageResize, DotGeneral: all arguments, against sums over all pairs of positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import stax
from ntkjax._kernel.arguments import inputs_of_call
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax.stax import (
    Conv,
    Dense,
    DotGeneral,
    Flatten,
    ImageResize,
    Index,
    Relu,
    Slice,
    serial,
)
from tests.contract.twins_positions import triangle
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(4, 6, 5, 3)), RNG.normal(size=(3, 6, 5, 3))
BELOW = serial(Conv(2, (3, 1), padding="SAME", W_std=1.3, b_std=0.1), Relu())


@pytest.fixture(scope="module")
def below():
    """Kernels of all pairs of positions below the layer: of two batches, and of the first alone."""
    return fast_jit(lambda a, b: (BELOW.kernel_fn(a, b), BELOW.kernel_fn(a)))(X1, X2)


def of_axes(kernel, one, two):
    """K <- A K A^T along both spatial axes; None for an axis that stays."""
    one, two = (np.eye(n) if a is None else a for a, n in ((one, 6), (two, 5)))
    return np.einsum("Aa,Bb,Cc,Dd,mnabcd->mnABCD", one, one, two, two, kernel, optimize=True)


def resized(size, size_out, method, antialias):
    """The matrix of an interpolation, of images with one bright pixel each."""
    return np.stack([jax.image.resize(e, (size_out,), method, antialias) for e in np.eye(size)], 1)


A, B = RNG.normal(size=(2, 5)), RNG.normal(size=(6, 5, 2))
V, G = RNG.normal(size=(6,)), RNG.normal(size=(4, 6))
EINSUM = {
    # What becomes of kernels [m, n, a, b, c, d], a and b positions along the first axis.
    "lhs takes the place of the last axis": (
        DotGeneral(lhs=A, dimension_numbers=(((1,), (2,)), ((), ()))),
        "Ac,Bd,mnabcd->mnABab", (A, A), (2, 4, 6, 2),
    ),
    "rhs adds an axis behind the channels": (
        DotGeneral(rhs=A, dimension_numbers=(((2,), (1,)), ((), ()))),
        "Ac,Bd,mnabcd->mnabAB", (A, A), (4, 6, 2, 2),
    ),
    "a number for each position": (
        DotGeneral(rhs=V, dimension_numbers=(((), ()), ((-3,), (0,)))),
        "a,b,mnabcd->mnabcd", (V, V), (6, 4, 5, 2),
    ),
    "axes in another order": (
        DotGeneral(lhs=B[:, :, 0].T, dimension_numbers=(((), ()), ((0, 1), (2, 1)))),
        "ca,db,mnabcd->mncdab", (B[:, :, 0].T,) * 2, (5, 6, 4, 2),
    ),
    "both axes at once": (
        DotGeneral(rhs=B[:, :, 0], dimension_numbers=(((1, 2), (0, 1)), ((), ()))),
        "ac,bd,mnabcd->mn", (B[:, :, 0],) * 2, (4, 2),
    ),
    "one shared and one summed axis": (
        DotGeneral(rhs=B, dimension_numbers=(((2,), (1,)), ((1,), (0,)))),
        "acA,bdB,mnabcd->mnabAB", (B, B), (6, 4, 2, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(EINSUM))
def test_dot_general_is_a_linear_map(name, below):
    layer, spec, arrays, shape = EINSUM[name]
    network = serial(BELOW, layer)
    kernel = fast_jit(network.kernel_fn)(X1, X2)
    for field in ("nngp", "ntk"):
        wanted = np.einsum(spec, *arrays, getattr(below[0], field), optimize=True)
        np.testing.assert_allclose(getattr(kernel, field), wanted, rtol=1e-10, atol=1e-12)
    made, params = network.init_fn(jax.random.key(0), X1.shape)
    out = network.apply_fn(params, X1)
    assert kernel.shape1 == made == out.shape == shape
    sizes = [
        n for k, n in enumerate(out.shape) if k not in (kernel.batch_axis, kernel.channel_axis)
    ]
    assert kernel.nngp.shape == (4, 3, *(n for n in sizes for _ in range(2)))


@pytest.mark.parametrize("summed", [False, True])
def test_dot_general_with_weights_of_each_example(summed, below):
    dims = ((1,), (1,)), ((0,), (0,))
    layer = DotGeneral(rhs=G, dimension_numbers=dims if summed else (((), ()), ((0, 1), (0, 1))))
    network = serial(BELOW, layer, Dense(1), Relu())
    kernel = fast_jit(serial(BELOW, layer).kernel_fn)(X1)
    spec = "ma,nb,mnabcd->mncd" if summed else "ma,nb,mnabcd->mnabcd"
    np.testing.assert_allclose(kernel.nngp, np.einsum(spec, G, G, below[1].nngp), atol=1e-12)
    np.testing.assert_allclose(kernel.cov1, np.einsum("mm...->m...", kernel.nngp), atol=1e-12)
    above = serial(Dense(1), Relu()).kernel_fn(kernel, None, "ntk")
    np.testing.assert_allclose(network.kernel_fn(X1, None, "ntk"), above, atol=1e-7)
    with pytest.raises(ValueError, match="3 examples came; pass batches of 4"):
        network.kernel_fn(X1, X2)


@pytest.mark.parametrize("method", ["nearest", "cubic", "lanczos3"])
def test_resize_is_what_becomes_of_pixels(method, below):
    antialias = method != "cubic"
    layer = ImageResize((-1, 4, 9, -1), method, antialias)
    kernel = fast_jit(serial(BELOW, layer).kernel_fn)(X1, X2)
    one, two = resized(6, 4, method, antialias), resized(5, 9, method, antialias)
    np.testing.assert_allclose(kernel.nngp, of_axes(below[0].nngp, one, two), atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, of_axes(below[0].ntk, one, two), atol=1e-12)


def test_resize_along_the_batch(below):
    kernel = fast_jit(serial(BELOW, ImageResize((2, -1, -1, -1), "linear", False)).kernel_fn)(X1)
    one = triangle(4, 2, widens=False)
    wanted = np.einsum("Mm,Nn,mn...->MN...", one, one, below[1].ntk)
    np.testing.assert_allclose(kernel.ntk, wanted, atol=1e-12)
    np.testing.assert_allclose(kernel.cov1, np.einsum("mm...->m...", kernel.nngp), atol=1e-12)


INDICES = [Slice[:, 1:4, ::2], Slice[..., ::-2, :], Slice[:, (0, 3, 3)], Slice[1:3, -1, -3:]]


@pytest.mark.parametrize("idx", INDICES, ids=str)
def test_index_is_that_of_numpy(idx, below):
    network = serial(BELOW, Index(idx))
    kernel = fast_jit(network.kernel_fn)(X1, X2)
    entries = [slice(None)] * 3
    given = idx if idx[0] is not Ellipsis else (slice(None), slice(None), idx[1])
    entries[: len(given)] = given[:3]
    wanted = np.asarray(below[0].nngp)
    axis = 0
    for entry in entries:
        for side in range(2):
            at = axis if isinstance(entry, int) else axis + side
            wanted = wanted[(slice(None),) * at + (entry,)]
        axis += 0 if isinstance(entry, int) else 2
    np.testing.assert_allclose(kernel.nngp, wanted, atol=1e-12)
    made, params = network.init_fn(jax.random.key(0), X1.shape)
    out = network.apply_fn(params, X1)
    np.testing.assert_array_equal(out, BELOW.apply_fn(params[0], X1)[idx])
    assert kernel.shape1 == made == out.shape


def diagonals_below(idx):
    """How many diagonals of six times five the nonlinearity below an index is asked for."""
    network = serial(Conv(1, (1, 1)), Relu(), Index(idx)).kernel_fn
    items, structure = inputs_of_call(X1, X2, False)
    plan, _ = network_plan(network.part, items, structure, Request(True, False, False))
    return max(place.cross.count for place in plan.places[:3])


@pytest.mark.parametrize(
    ("idx", "count"),
    [
        (Slice[:], 30),
        (Slice[:, ::4], 10),
        (Slice[:, 2:4], 15),
        (Slice[:, 0], 5),
        (Slice[:, 0, 0], 1),
    ],
)
def test_few_positions_ask_for_few_diagonals(idx, count):
    assert diagonals_below(idx) == count


def test_near_points_keep_their_digits():
    """In float32, the distances of images at a relative distance of 1e-3."""
    one = RNG.normal(size=(1, 6, 4, 2)).astype(np.float32)
    x = np.concatenate([one, one + 1e-3 * RNG.normal(size=one.shape).astype(np.float32)])
    layers = [Index(Slice[:, ::-2]), Index(Slice[:, (0, 2), 1:]), DotGeneral(rhs=-1.7)]
    network = serial(Dense(1, 1.4, 0.1), Relu(), *layers, Dense(1, 1.4, 0.1), Relu(), Dense(1))
    double = fast_jit(network.kernel_fn)(x.astype(np.float64))
    with ntkjax.config.set(dtype="inputs"):
        single = fast_jit(network.kernel_fn)(x)
    assert single.distance.dtype == np.float32
    # Covariances of float32 would know them to 1e-7.
    np.testing.assert_allclose(single.distance, double.distance, rtol=1e-5, atol=1e-9)


ERRORS = [
    (lambda: Index(Slice[0]), "example 0 alone.*use a slice, such as 0:1"),
    (lambda: Index(Slice[..., :2]), "cuts the channel axis"),
    (lambda: Index(Slice[:, 7]), "takes 7 of axis 1, which is of size 6"),
    (lambda: Index(Slice[:, 3:3]), "takes 3:3 of axis 1"),
    (lambda: Index(Slice[:, :, :, :, 0]), "5 entries"),
    (lambda: Index(Slice[:, ::0]), "step 0"),
    (lambda: Index(Slice[:, (0, 1), 2]), "use an Index for each"),
    (lambda: Index(Slice[:, 1.5]), "expected slices, integers"),
    (lambda: Index(Slice[:, None]), "expected slices, integers"),
    (lambda: ImageResize((-1, 3), "linear"), "has 2 entries.*4 axes"),
    (lambda: ImageResize((-1, 3, 3, 2), "linear"), "resizes the channel axis"),
    (lambda: ImageResize((-1, 0, 3, -1), "linear"), "expected positive sizes"),
    (lambda: ImageResize((-1, 3, 3, -1), "best"), "method='best' is unknown"),
    (lambda: DotGeneral(lhs=1.0, rhs=1.0), "both given"),
    (lambda: DotGeneral(rhs=V, dimension_numbers=((1,), (0,))), "expected \\(\\(contracting"),
    (lambda: DotGeneral(rhs=V, dimension_numbers=(((2,), (0,)), ((), ()))), "of equal size"),
    (lambda: DotGeneral(rhs=V, dimension_numbers=(((1,), (3,)), ((), ()))), "use axes from 0"),
    (lambda: DotGeneral(rhs=V[:3], dimension_numbers=(((3,), (0,)), ((), ()))), "channel axis"),
    (lambda: DotGeneral(rhs=V[:4], dimension_numbers=(((0,), (0,)), ((), ()))), "batch axis 0"),
    (lambda: DotGeneral(rhs=np.nan), "must be finite"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().kernel_fn(X1)


def test_unknown_sizes():
    init_fn, _, _ = Index(Slice[:, 1:3])
    assert init_fn(jax.random.key(0), (-1, 4, 3))[0] == (-1, 2, 3)
    with pytest.raises(ValueError, match="whose size is not known"):
        init_fn(jax.random.key(0), (4, -1, 3))
    init_fn, apply_fn, _ = DotGeneral()
    assert init_fn(jax.random.key(0), (2, 3)) == ((2, 3), ())
    np.testing.assert_array_equal(apply_fn((), X1), X1)


def test_float_arrays_stay_narrow():
    x = jnp.asarray(X1, jnp.float32)
    for layer in (ImageResize((-1, 3, 5, -1), "linear"), DotGeneral(rhs=2.0), Index(Slice[:, 0])):
        assert layer.apply_fn((), x).dtype == jnp.float32


MASKED = [
    (Index(Slice[:, ::-2]), lambda m: m[:, ::-2]),
    (Index(Slice[:, (0, 3)]), lambda m: m[:, (0, 3)]),
    (ImageResize((-1, 3, -1), "linear", False), lambda m: m[:, ::2] & m[:, 1::2]),
]


@pytest.mark.parametrize(("make", "of_mask"), MASKED, ids=[str(layer) for layer, _ in MASKED])
def test_masked_positions(make, of_mask):
    """They count as zero, and an output is masked where all that it is made of is."""
    x = RNG.normal(size=(3, 6, 2))
    mask = np.array([[0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
    x[mask] = 100.0
    network = serial(make, Dense(2, 1.2, 0.3))
    kernel = fast_jit(lambda x: network.kernel_fn(x, mask_constant=100.0))(x)
    plain = fast_jit(network.kernel_fn)(np.where(mask[..., None], 0.0, x))
    kept = ~of_mask(mask)
    pairs = kept[:, None, :, None] & kept[None, :, None, :]
    np.testing.assert_allclose(kernel.nngp, np.where(pairs, plain.nngp, 0), atol=1e-12)
    out = network.apply_fn(network.init_fn(jax.random.key(0), x.shape)[1], x, mask_constant=100.0)
    np.testing.assert_array_equal(
        np.all(np.broadcast_to(out.mask, out.masked_value.shape), -1), ~kept
    )


def test_height_and_width_are_resized_as_finite_networks_do():
    """Unequal sizes above a convolution, where neural-tangents swaps the two."""

    def network(n):
        return serial(
            Conv(n, (3, 3), padding="SAME"), Relu(), ImageResize((-1, 4, 2, -1), "linear"),
            Dense(n), Relu(), Flatten(), Dense(n),
        )  # fmt: skip

    # Images that vary along their width alone, so that it matters which axis is made small.
    x = np.repeat(np.random.default_rng(0).normal(size=(2, 1, 6, 2)), 6, axis=1)
    init_fn, apply_fn, kernel_fn = network(128)
    sampled = ntkjax.monte_carlo_kernel_fn(
        init_fn, apply_fn, jax.random.PRNGKey(0), 300, standard_error=True
    )
    found, exact = sampled(x, None, "nngp"), kernel_fn(x, None, "nngp")
    assert np.all(np.abs(found.mean - exact) < 4 * found.standard_error + 0.01 * np.max(exact))
    turned = network(128).kernel_fn(np.swapaxes(x, 1, 2), None, "nngp")
    assert np.max(np.abs(found.mean - turned) / found.standard_error) > 8


def test_a_number_multiplies_points_without_positions():
    x = np.random.default_rng(0).normal(size=(3, 4))
    layer = stax.serial(stax.Dense(4), DotGeneral(rhs=-1.7), stax.Relu())
    plain = stax.serial(stax.Dense(4, 1.7), stax.Relu())
    np.testing.assert_allclose(layer.kernel_fn(x, None, "ntk"), plain.kernel_fn(x, None, "ntk"))
