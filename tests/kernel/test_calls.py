"""What a call of `kernel_fn` may look like: equal batches, containers, axes, users' keywords."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import stax

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
Z = RNG.normal(size=(4, 6, 3))
RANDOM = stax.serial(stax.Dense(8, 1.3, 0.1), stax.Relu(), stax.Dropout(0.7), stax.Dense(8))
FIELDS = ("nngp", "ntk", "cov1", "distance")


@pytest.fixture(autouse=True)
def usual_promotion():
    """Layers here are written as a user would, who promotes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def same(found, wanted):
    for name in FIELDS:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_batches_of_equal_values_are_one_batch(jit):
    kernel_fn = jax.jit(RANDOM.kernel_fn) if jit else RANDOM.kernel_fn
    wanted = RANDOM.kernel_fn(X1)
    for second in (X1, X1.copy()):
        kernel = kernel_fn(X1, second)
        same(kernel, wanted)
        np.testing.assert_allclose(kernel.cov2, wanted.cov1, atol=1e-12)
        assert bool(kernel.x1_is_x2)
    other = kernel_fn(X1, X1 + 1e-3)
    assert not bool(other.x1_is_x2)
    assert np.max(abs(other.nngp - wanted.nngp)) > 0.1


def test_a_kernel_of_equal_batches_is_one_of_one_batch():
    below, above = stax.Dense(8), stax.serial(stax.Dropout(0.7), stax.Dense(8))
    kernel = above.kernel_fn(below.kernel_fn(X1, X1.copy()))
    same(kernel, above.kernel_fn(below.kernel_fn(X1)))
    assert kernel.cov2 is not None


def test_equal_inputs_with_other_graphs_are_two_batches():
    network = stax.serial(stax.Aggregate(), stax.Dense(1))
    graphs = [RNG.uniform(size=(4, 6, 6)) for _ in range(2)]
    kernel = network.kernel_fn(Z, Z.copy(), pattern=tuple(graphs))
    assert not bool(kernel.x1_is_x2)
    same(kernel, network.kernel_fn(Z, None, pattern=tuple(graphs)))
    again = network.kernel_fn(Z, Z.copy(), pattern=(graphs[0], graphs[0].copy()))
    assert bool(again.x1_is_x2)
    with pytest.raises(NotImplementedError, match="no value for x1"):
        network.kernel_fn(Z, Z, pattern=(None, graphs[0]))


def test_containers_of_inputs_are_those_of_results():
    branches = stax.parallel(stax.Dense(4), stax.serial(stax.Identity(), stax.Dense(4)))
    for kind in (tuple, list):
        x1, x2 = kind([X1, X1]), kind([X2, X2])
        assert type(branches.kernel_fn(x1, x2, "ntk")) is kind
        assert type(branches.kernel_fn(x1, x2)) is kind
        _, params = branches.init_fn(jax.random.key(0), kind(x.shape for x in x1))
        assert type(branches.apply_fn(params, x1)) is kind
        joined = stax.serial(branches, stax.FanInSum(), stax.FanOut(2)).kernel_fn(x1, x2, "nngp")
        assert type(joined) is list
    nested = stax.parallel(branches, stax.Dense(2)).kernel_fn(([X1, X1], X1), ([X2, X2], X2), "ntk")
    assert (type(nested), type(nested[0])) == (tuple, list)
    named = branches.kernel_fn((X1, X1), None, ("NNGP", "ntk"))
    assert (type(named[0]).__name__, named[0]._fields) == ("AnalyticKernel", ("nngp", "ntk"))


def test_covariances_of_all_examples():
    network = stax.serial(stax.Conv(8, (2,)), stax.Relu(), stax.Flatten())
    kernel, plain = network.kernel_fn(Z[:3], Z, diagonal_batch=False), network.kernel_fn(Z[:3], Z)
    same(kernel.replace(cov1=plain.cov1, distance=kernel.distance), plain)
    np.testing.assert_allclose(kernel.cov1, network.kernel_fn(Z[:3]).nngp, atol=1e-12)
    np.testing.assert_allclose(kernel.cov2, network.kernel_fn(Z).nngp, atol=1e-12)
    assert not kernel.diagonal_batch
    assert network.kernel_fn(Z, diagonal_batch=False).cov2 is None
    with pytest.raises(NotImplementedError, match="cov1 is of single examples"):
        stax.Dense(1).kernel_fn(plain, diagonal_batch=False)


def test_axes_of_the_inputs():
    relu = stax.serial(stax.Dense(1, batch_axis=1, channel_axis=0), stax.Relu())
    wanted = stax.serial(stax.Dense(1), stax.Relu()).kernel_fn(X1, X2, "nngp")
    found = relu.kernel_fn(X1.T, X2.T, "nngp", batch_axis=1, channel_axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    found = stax.Flatten(1, 0).kernel_fn([X1.T, X1.T][0], None, "nngp", batch_axis=1)
    np.testing.assert_allclose(found, X1 @ X1.T / 3, rtol=1e-12)
    pair = stax.parallel(stax.Identity(), stax.Identity())
    for k in pair.kernel_fn([X1.T, X1.T], None, "nngp", batch_axis=1, channel_axis=0):
        np.testing.assert_allclose(k, X1 @ X1.T / 3, rtol=1e-12)
    with pytest.raises(ValueError, match="give every layer the same axes"):
        relu.kernel_fn(X1, batch_axis=0, channel_axis=1)
    with pytest.raises(TypeError, match="batch_axis='first'"):
        relu.kernel_fn(X1, batch_axis="first")


def test_a_random_key_changes_nothing():
    plain = RANDOM.kernel_fn(X1, X2, "ntk")
    found = RANDOM.kernel_fn(X1, X2, "ntk", rng=jax.random.key(0), mask_constant=None)
    np.testing.assert_array_equal(found, plain)


@stax.layer
def Stretched():
    @stax.requires(batch_axis=0, channel_axis=-1)
    def kernel_fn(k, factor=1.0, by=None, power="one", **kwargs):
        factor = factor**2 if power == "two" else factor
        if by is None:
            return k * factor
        one, two = by
        return k.replace(
            nngp=k.nngp * one[:, None] * two,
            ntk=None if k.ntk is None else k.ntk * one[:, None] * two,
            cov1=k.cov1 * one**2,
            cov2=None if k.cov2 is None else k.cov2 * two**2,
        )

    return (lambda rng, shape: (shape, ())), (lambda params, x, **kwargs: x), kernel_fn


OWN = stax.serial(stax.Dense(8), Stretched(), stax.Relu())
PLAIN = stax.serial(stax.Dense(8), stax.Relu())


@pytest.mark.parametrize(
    ("keywords", "factor"),
    [
        ({"factor": 3.0}, 9),
        ({"factor": np.array(3.0)}, 9),
        ({"factor": jnp.asarray(3.0), "power": "two"}, 81),
        ({"factor": None}, 1),
    ],
)
def test_keywords_of_a_users_layer(keywords, factor):
    found = OWN.kernel_fn(X1, X2, "ntk", **keywords)
    np.testing.assert_allclose(found, factor * PLAIN.kernel_fn(X1, X2, "ntk"), rtol=1e-6)


def test_keywords_of_a_users_layer_are_cut_with_the_examples():
    one, two = RNG.uniform(1, 2, 5), RNG.uniform(1, 2, 4)
    wanted = np.outer(one, two) * PLAIN.kernel_fn(X1, X2, "nngp")
    with ntkjax.config.set(memory_budget=2000):
        tiled = OWN.kernel_fn(X1, X2, "nngp", by=(one, two))
    np.testing.assert_allclose(tiled, wanted, rtol=1e-6)
    batched = ntkjax.batch(OWN.kernel_fn, 2, store_on_device=False)
    np.testing.assert_allclose(batched(X1, X2, "nngp", by=(one, two)), wanted, rtol=1e-6)
    with pytest.raises(TypeError, match="unknown keyword argument 'length'"):
        OWN.kernel_fn(X1, length=3)


def test_shapes_after_a_users_layer_are_those_of_its_finite_network():
    @stax.layer
    def Mean():
        def kernel_fn(k, **kwargs):
            cov2 = None if k.cov2 is None else k.cov2.mean((1, 2))
            return k.replace(
                nngp=k.nngp.mean((2, 3)),
                ntk=k.ntk.mean((2, 3)),
                cov1=k.cov1.mean((1, 2)),
                cov2=cov2,
                channel_axis=1,
            )

        def init_fn(rng, shape):
            return (shape[0], shape[2]), ()

        return init_fn, (lambda params, x, **kwargs: x.mean(1)), kernel_fn

    below, above = stax.serial(stax.Conv(4, (3,)), stax.Relu()), stax.Dense(3)
    own = stax.serial(below, Mean(), above).kernel_fn(Z)
    ours = stax.serial(below, stax.GlobalAvgPool(), above).kernel_fn(Z)
    assert own.shape1 == ours.shape1 == (4, 3)
    np.testing.assert_allclose(own.ntk, ours.ntk, rtol=1e-6)


def test_a_layer_made_of_ours_is_no_layer_of_its_own():
    Block = stax.layer(lambda: stax.serial(stax.Dense(8, 1.2), stax.Relu()))

    @stax.layer
    @stax.supports_masking(remask_kernel=True)
    def Plain():
        return tuple(stax.serial(stax.Dense(8, 1.2), stax.Relu()))

    wanted = stax.serial(stax.Dense(8, 1.2), stax.Relu(), stax.Dense(1)).kernel_fn(X1, X2)
    for layer in (Block(), Plain()):
        same(stax.serial(layer, stax.Dense(1)).kernel_fn(X1, X2), wanted)


def test_a_users_finite_network_is_handed_masks():
    @stax.layer
    @stax.supports_masking(remask_kernel=False)
    def Counted():
        def apply_fn(params, inputs, mask=None, **kwargs):
            hidden = 0.0 if mask is None else jnp.sum(mask, (1, 2), keepdims=True) * 1.0
            return inputs + hidden

        return (lambda rng, s: (s, ())), apply_fn, (lambda k, **kwargs: k), lambda mask, s: mask

    x = np.array([[[1.0], [-9.0]], [[2.0], [3.0]]])
    out = Counted().apply_fn((), x, mask_constant=-9.0)
    np.testing.assert_array_equal(out.masked_value[..., 0], [[2, 1], [2, 3]])
    np.testing.assert_array_equal(out.mask[..., 0], [[False, True], [False, False]])
    np.testing.assert_array_equal(Counted().apply_fn((), x), x)


def test_a_users_layer_of_covariances_alone_is_asked_for_nothing_else():
    @stax.layer
    def Rooted():
        def kernel_fn(k, **kwargs):
            if k.ntk is not None:
                raise ValueError("no tangent kernel is known")
            roots = [None if c is None else jnp.sqrt(c) for c in (k.cov1, k.cov2)]
            root = jnp.sqrt(jnp.maximum(k.nngp, 0))
            return k.replace(nngp=root, cov1=roots[0], cov2=roots[1])

        return (lambda rng, s: (s, ())), (lambda params, x, **kwargs: x), kernel_fn

    network = stax.serial(stax.Dense(8), Rooted())
    wanted = np.sqrt(np.maximum(stax.Dense(8).kernel_fn(X1, X2, "nngp"), 0))
    np.testing.assert_allclose(network.kernel_fn(X1, X2, "nngp"), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="no tangent kernel is known"):
        network.kernel_fn(X1, X2, "ntk")
