"""`batch` gives what the plain call gives, whatever the sizes of the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax as nt
from ntkjax import stax

RNG = np.random.default_rng(0)
NETWORK = stax.serial(stax.Dense(8, 1.4, 0.1), stax.Relu(), stax.Dense(1))
IMAGES = stax.serial(stax.Conv(8, (2,), padding="SAME"), stax.Relu())
X1, X2 = RNG.normal(size=(7, 4)), RNG.normal(size=(5, 4))
Z1, Z2 = RNG.normal(size=(5, 3, 2)), RNG.normal(size=(3, 3, 2))
FIELDS = ("nngp", "ntk", "cov1", "cov2", "distance")


def equal(found, wanted, tolerance=1e-12):
    for name in FIELDS:
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=tolerance, err_msg=name)
    assert (found.shape1, found.shape2) == (wanted.shape1, wanted.shape2)
    assert bool(found.x1_is_x2) == bool(wanted.x1_is_x2)


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("size", [0, 1, 3, 100])
def test_a_kernel_of_ours(size, on_device):
    batched = nt.batch(NETWORK.kernel_fn, size, store_on_device=on_device)
    for x2 in (X2, None):
        equal(batched(X1, x2), NETWORK.kernel_fn(X1, x2))
    ntk = batched(X1, X2, "ntk")
    assert isinstance(ntk, jax.Array if on_device else np.ndarray)
    np.testing.assert_allclose(ntk, NETWORK.kernel_fn(X1, X2, "ntk"), atol=1e-12)
    both = batched(X1, X2, ("nngp", "ntk"))
    assert both._fields == ("nngp", "ntk")


@pytest.mark.parametrize("equal_positions", [True, False])
def test_positions_pair_up(equal_positions):
    batched = nt.batch(IMAGES.kernel_fn, 2, store_on_device=False)
    for x2 in (Z2, None):
        found = batched(Z1, x2, diagonal_spatial=equal_positions)
        equal(found, IMAGES.kernel_fn(Z1, x2, diagonal_spatial=equal_positions))


def test_on_the_host_a_batch_with_itself_is_exactly_symmetric():
    ntk = nt.batch(NETWORK.kernel_fn, 2, store_on_device=False)(np.float32(X1), None, "ntk")
    np.testing.assert_array_equal(ntk, ntk.T)


def test_a_kernel_is_cut_like_inputs():
    head = stax.serial(stax.Relu(), stax.Dense(1))
    for x2 in (X2, None):
        kernel = NETWORK.kernel_fn(X1, x2)
        equal(
            nt.batch(head.kernel_fn, 3, store_on_device=False)(kernel), head.kernel_fn(kernel), 1e-7
        )


def test_lists_of_inputs_and_of_outputs():
    pair = stax.parallel(NETWORK, stax.Dense(3))
    batched = nt.batch(pair.kernel_fn, 3, store_on_device=False)
    for one, other in zip(batched([X1, X1[:, :2]], [X2, X2[:, :2]], "nngp"),
                          pair.kernel_fn([X1, X1[:, :2]], [X2, X2[:, :2]], "nngp"),
                          strict=True):  # fmt: skip
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_function_of_the_users(size, on_device):
    """It is called with what its examples belong to, and with x2=None only on the diagonal."""
    calls = []

    def kernel_fn(x1, x2, power, *, weights=None, name=""):
        calls.append((x1.shape, None if x2 is None else x2.shape, name))
        first = 1.0 if weights is None else weights[0]
        same = jnp.eye(len(x1)) if x2 is None else 0.0
        return {"k": first * x1 @ (x1 if x2 is None else x2).T ** power + same}

    weights = RNG.normal(size=(7, 1)), RNG.normal(size=(5, 1))
    batched = nt.batch(kernel_fn, size, store_on_device=on_device)
    found = batched(X1, X2, 2, weights=weights, name="a")["k"]
    np.testing.assert_allclose(found, weights[0] * X1 @ X2.T**2, atol=1e-12)
    assert len(calls) == -(-7 // size) * -(-5 // size)
    found = batched(X1, None, 1)["k"]
    np.testing.assert_allclose(found, X1 @ X1.T + np.eye(7), atol=1e-12)


def test_empirical_kernels():
    _, params = NETWORK.init_fn(jax.random.key(0), X1.shape)
    ntk_fn = nt.empirical_ntk_fn(NETWORK.apply_fn)
    batched = nt.batch(ntk_fn, 3)
    for x2 in (X2, None):
        np.testing.assert_allclose(batched(X1, x2, params), ntk_fn(X1, x2, params), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "error", "phrases"),
    [
        (lambda: nt.batch(3), TypeError, ["kernel_fn must be callable", "serial"]),
        (lambda: nt.batch(NETWORK.kernel_fn, -1), ValueError, ["batch_size=-1", "at least 0"]),
        (lambda: nt.batch(NETWORK.kernel_fn, 1.5), ValueError, ["batch_size=1.5"]),
        (lambda: nt.batch(NETWORK.kernel_fn, 2, -2), ValueError, ["device_count=-2", "-1"]),
        (
            lambda: nt.batch(NETWORK.kernel_fn, 2, 99)(X1, X2),
            ValueError,
            ["device_count=99", "there are"],
        ),
        (
            lambda: nt.batch(lambda a, b: a, 2)([X1, X2], None),
            ValueError,
            ["(7, 4)", "(5, 4)", "same number of examples"],
        ),
    ],
)
def test_errors(make, error, phrases):
    with pytest.raises(error) as caught:
        make()
    assert all(phrase in str(caught.value) for phrase in phrases)


def test_progress_is_a_setting():
    with nt.config.set(progress=False):
        assert not nt.config.progress
    with pytest.raises(ValueError, match="progress='no'"), nt.config.set(progress="no"):
        pass


def test_kernels_of_several_inputs_are_cut_together():
    below = stax.parallel(stax.Dense(8, 1.4), stax.Dense(8))
    above = stax.serial(stax.parallel(stax.Relu(), stax.Erf()), stax.parallel(*[stax.Dense(1)] * 2))
    for x2 in ((X2, X2), None):
        kernels = below.kernel_fn((X1, X1), x2)
        batched = nt.batch(above.kernel_fn, 3, store_on_device=False)
        found, wanted = batched(kernels), above.kernel_fn(kernels)
        assert type(found) is tuple
        for one, other in zip(found, wanted, strict=True):
            equal(one, other, 1e-7)
