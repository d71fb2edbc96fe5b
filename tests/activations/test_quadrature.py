"""Any function by quadrature: kinks and steps, bounds of errors, near-equal points."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import dual, stax
from ntkjax._activations.integrated import Quadrature
from ntkjax._activations.scalar_function import ScalarFunction
from tests.helpers import fast_jit

#: f, and where it has kinks and steps.
FUNCTIONS = {
    "cubic": (lambda x: 0.1 * x**3 - x + 0.5, []),
    "logistic": (lambda x: 1 / (1 + jnp.exp(-3 * x)), []),
    "bump": (lambda x: jnp.exp(-((x - 0.4) ** 2)), []),
    "wave": (lambda x: jnp.sin(2 * x) + 0.3 * x, []),
    "arctan": (lambda x: jnp.arctan(2 * x - 1), []),
    "kink": (lambda x: jnp.abs(x - 0.3), [0.3]),
    "plateau": (lambda x: jnp.clip(x, -0.7, 1.3), [-0.7, 1.3]),
    "step": (lambda x: jnp.where(x > 0.21, 1.0, -0.4), [0.21]),
    "stairs": (lambda x: jnp.floor(jnp.clip(x, -0.5, 1.5)), [0.0, 1.0]),
    "curved kink": (lambda x: jnp.where(x < 0, jnp.expm1(x), x**2 / 2), [0.0]),
    "jump and kink": (lambda x: jnp.where(x > 0.5, x + 1.0, jnp.abs(x)), [0.0, 0.5]),
    "hat": (lambda x: jnp.maximum(1 - jnp.abs(x), 0.0), [-1.0, 0.0, 1.0]),
}
#: v1, v2 and the correlation.
PAIRS = np.array([
    (1.0, 1.0, 0.5), (1.0, 1.0, -0.99), (0.3, 2.5, 0.9), (8.0, 0.2, -0.3),
    (2.0, 2.0, 0.9999), (1.0, 1.0, 1.0), (0.25, 4.0, -1.0), (1.0, 2.0, 0.0),
])  # fmt: skip


def panels(edges, count=20):
    """Nodes and weights between edges that are sorted."""
    x, w = np.polynomial.legendre.leggauss(count)
    half = np.diff(edges)[..., None] / 2
    middle = (edges[..., 1:] + edges[..., :-1])[..., None] / 2
    shape = (*edges.shape[:-1], -1)
    return (middle + half * x).reshape(shape), (half * w).reshape(shape)


def integral(g, kinks, v1, v2, cosine):
    """E g(u) g(v), v = (r2 / r1) c u + s y, with panels around all kinks, by NumPy."""
    r1, r2 = np.sqrt(v1), np.sqrt(v2)
    onto, rest = cosine * r2 / r1, r2 * np.sqrt(max(1 - cosine**2, 0))
    kinks = np.array(kinks)
    blurs = rest * np.array([-9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9])
    seen = np.concatenate([kinks, *[(kinks + b) / onto for b in blurs if onto]])
    edges = np.clip(np.concatenate([seen / r1, np.linspace(-9, 9, 61)]), -9, 9)
    x, weight = panels(np.unique(edges))
    mean = onto * r1 * x[:, None]
    if rest == 0:
        inner = g(mean[:, 0])
    else:
        cuts = np.clip((kinks - mean) / rest, -9, 9)
        grid = np.broadcast_to(np.linspace(-9, 9, 61), (len(x), 61))
        y, of_y = panels(np.sort(np.concatenate([cuts, grid], 1), 1))
        inner = np.sum(of_y * np.exp(-(y**2) / 2) * g(mean + rest * y), 1) / np.sqrt(2 * np.pi)
    return np.sum(weight * np.exp(-(x**2) / 2) * g(r1 * x) * inner) / np.sqrt(2 * np.pi)


def exact(f, kinks, pairs):
    """E f f and E f' f' of pairs."""
    slope = jax.vmap(jax.grad(lambda x: jnp.asarray(f(x), float)))
    of = [
        lambda x: np.asarray(f(jnp.asarray(x))),
        lambda x: np.asarray(slope(x.ravel())).reshape(x.shape),
    ]
    return [np.array([integral(g, kinks, *pair) for pair in pairs]) for g in of]


def covariances(pairs):
    v1, v2, cosine = pairs.T
    return cosine * np.sqrt(v1 * v2), v1, v2


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_the_stated_error_bounds_the_true_one(name):
    f, kinks = FUNCTIONS[name]
    made = dual(f)
    found, bounds = made(*covariances(PAIRS)), made.error(*covariances(PAIRS))
    for value, bound, wanted in zip(found, bounds, exact(f, kinks, PAIRS), strict=True):
        size = np.maximum(1, np.max(np.abs(wanted)))
        # What the reference is known to.
        assert np.all(np.abs(value - wanted) <= bound + 1e-14 * size)
        np.testing.assert_allclose(value, wanted, atol=1e-11 * size)
        assert np.all(bound <= 1e-6 * size)


def test_an_error_that_is_large_is_stated():
    """Of a function whose second moment lies beyond the nodes."""
    made = dual(jnp.exp)
    found, _ = made(4.0, 9.0, 9.0)
    bound, _ = made.error(4.0, 9.0, 9.0)
    assert abs(found - np.exp(13)) <= bound
    found, _ = made(80.0, 90.0, 90.0)
    bound, _ = made.error(80.0, 90.0, 90.0)
    assert bound > found


@pytest.mark.parametrize("name", ["kink", "logistic"])
def test_float32_keeps_the_digits_of_a_small_distance(name):
    f, _ = FUNCTIONS[name]
    activation = Quadrature(ScalarFunction(f), name)
    distance = 10.0 ** np.arange(-8, 1, 2)
    ones = np.ones_like(distance)

    def pair(v1, v2, distance):
        return activation.pair(activation.point(v1), activation.point(v2), distance)[:2]

    double = fast_jit(pair)(ones, ones, distance)
    single = fast_jit(pair)(*map(np.float32, (ones, ones, distance)))
    assert single[0].dtype == jnp.float32
    np.testing.assert_allclose(single[0], double[0], rtol=1e-5, atol=2e-11)
    np.testing.assert_allclose(single[1], double[1], rtol=2e-6)


def test_derivatives_at_corners_are_finite_and_elsewhere_right():
    activation = Quadrature(ScalarFunction(FUNCTIONS["kink"][0]), "kink")
    corners = [(1.0, 1.0, 0.0), (1.0, 1.0, 4.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 4.0, 1.0)]
    generic = [(1.0, 1.3, 0.4), (0.5, 2.0, 3.9)]

    def values(numbers):
        v1, v2, distance = numbers
        return jnp.stack(activation.pair(activation.point(v1), activation.point(v2), distance)[:2])

    rows = jnp.asarray(corners + generic)
    step = 1e-5
    steps = step * np.eye(3)[:, None] * np.array([1, -1])[:, None]
    moved = np.array(generic) + steps[:, :, None]
    found = fast_jit(jax.vmap(values))(moved.reshape(-1, 3))
    up, down = np.asarray(found).reshape(3, 2, len(generic), 2).transpose(1, 2, 3, 0)
    first = fast_jit(jax.vmap(jax.jacrev(values)))(rows)
    second = fast_jit(jax.vmap(jax.jacfwd(jax.jacrev(values))))(rows)
    assert np.all(np.isfinite(first))
    assert np.all(np.isfinite(second))
    np.testing.assert_allclose(first[len(corners) :], (up - down) / (2 * step), atol=1e-8)


def test_a_network_is_that_of_the_closed_form():
    x = np.random.default_rng(0).normal(size=(4, 3))
    x = np.concatenate([x, -x[:1], 0 * x[:1], 1.0001 * x[1:2], 40 * x[2:3]])
    made, closed = (
        stax.serial(stax.Dense(2, 1.3), layer, stax.Dense(2, 1.1, 0.2))
        for layer in (stax.Elementwise(jax.nn.relu), stax.Relu())
    )
    ours, wanted = (fast_jit(n.kernel_fn)(x) for n in (made, closed))
    size = np.sqrt(np.outer(np.diag(wanted.ntk), np.diag(wanted.ntk)))
    assert np.max(np.abs(ours.nngp - wanted.nngp) / size) < 1e-12
    assert np.max(np.abs(ours.ntk - wanted.ntk) / size) < 1e-12


def test_duals_of_layers_are_their_kernels():
    cov, v1, v2 = covariances(PAIRS)
    for layer, f in [(stax.Erf(), jax.scipy.special.erf), (stax.LeakyRelu(0.2), None)]:
        found = dual(layer)(cov, v1, v2)
        f = f or (lambda x: jnp.where(x > 0, x, 0.2 * x))
        for value, wanted in zip(found, dual(f)(cov, v1, v2), strict=True):
            np.testing.assert_allclose(value, wanted, atol=1e-7)
    nngp, slope = dual(stax.Erf())(0.0, 0.0, 1.0)
    assert nngp == 0
    assert np.isfinite(slope)


def test_pieces_are_found():
    for (f, kinks), dtype in itertools.product(FUNCTIONS.values(), (np.float32, np.float64)):
        found = ScalarFunction(f).pieces("test", dtype).kinks
        np.testing.assert_allclose(found, kinks, atol=1e-12)


ERRORS = {
    "no number": (lambda: dual(3), TypeError, "neither a nonlinearity"),
    "a layer with weights": (lambda: dual(stax.Dense(3)), TypeError, "no scalar nonlinearity"),
    "no Gaussian pair": (lambda: dual(stax.Relu())(2.0, 1.0, 1.0), ValueError, "sqrt.var1 var2"),
    "a negative variance": (lambda: dual(stax.Relu())(0.0, -1.0, 1.0), ValueError, "not negative"),
    "shapes": (
        lambda: dual(stax.Relu())(np.zeros(2), np.ones(3), 1.0), ValueError, "do not broadcast"
    ),
    "no bound": (lambda: dual(stax.Relu()).error(0.0, 1.0, 1.0), TypeError, "not an integral"),
    "nothing": (lambda: stax.Elementwise(), ValueError, "neither fn nor nngp_fn"),
    "numpy": (lambda: stax.Elementwise(np.tanh), TypeError, "jax.numpy instead of numpy"),
    "not one number": (
        lambda: stax.Elementwise(lambda x: jnp.ones(3) * x), ValueError, "expected one number"
    ),
    "complex": (
        lambda: stax.Elementwise(lambda x: jnp.asarray(x, complex)), TypeError, "real numbers"
    ),
    "too many wiggles": (
        lambda: stax.Elementwise(lambda x: jnp.sin(1 / (x + 1e-9))), ValueError, "smooth pieces"
    ),
    "one argument": (
        lambda: stax.Elementwise(nngp_fn=lambda c: c), TypeError, "nngp_fn fails for 3 numbers"
    ),
    "half a formula": (
        lambda: stax.Elementwise(jnp.tanh, d_nngp_fn=lambda k, a, b: k), ValueError, "give both"
    ),
    "a finite network of no function": (
        lambda: stax.Elementwise(nngp_fn=lambda k, a, b: k).apply_fn((), np.ones((2, 2))),
        NotImplementedError, "give fn",
    ),
    "traced": (
        lambda: jax.jit(lambda a: dual(lambda x: a * x)(0.0, 1.0, 1.0))(2.0),
        TypeError, "are traced",
    ),
    "deg": (lambda: stax.ElementwiseNumerical(jnp.tanh, 0), ValueError, "deg=0"),
    "df": (lambda: stax.ElementwiseNumerical(jnp.tanh, 9, 3), TypeError, "df=3"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ERRORS))
def test_bad_input_is_refused(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()
