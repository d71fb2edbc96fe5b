"""Helpers that layers written for neural_tangents import do what those did."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._compat import axes, covariances, diagonals, requirements, trees
from ntkjax._compat.dataclass import dataclass, field

RNG = np.random.default_rng(0)
Z1, Z2 = RNG.normal(size=(4, 5, 6, 3)), RNG.normal(size=(3, 5, 6, 3))
KERNEL = stax.Identity().kernel_fn(Z1, Z2)
FIELDS = ("nngp", "ntk", "cov1", "cov2")


@pytest.fixture(autouse=True)
def usual_promotion():
    """As in scripts."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def test_axes():
    x = jnp.asarray(RNG.normal(size=(2, 3, 3, 4, 4)))
    apart = axes.unzip_axes(x, 1)
    np.testing.assert_array_equal(apart, x.transpose(0, 1, 3, 2, 4))
    np.testing.assert_array_equal(axes.zip_axes(apart, 1), x)
    np.testing.assert_array_equal(axes.diagonal_between(apart, 1), jnp.einsum("naabb->nab", x))
    np.testing.assert_array_equal(axes.make_2d(x, 1), apart.reshape(2, 12, 12))
    np.testing.assert_array_equal(axes.reverse_zipped(x, 1), x.transpose(0, 3, 4, 1, 2))
    assert axes.reverse_zipped((0, 1, 2, 3, 4), 1) == (0, 3, 4, 1, 2)
    a, b = jnp.arange(6.0).reshape(2, 3), jnp.arange(8.0).reshape(2, 4)[:, :3]
    product = axes.outer_prod(a, b, 1, 2, operator.mul)
    np.testing.assert_array_equal(product, a[:, :, None] * b[:, None])
    assert axes.canonicalize_axis((-1, 0, 2), 3) == [0, 2]
    assert axes.mod((-1, 1), x) == [4, 1]
    assert axes.size_at(x, (1, 3)) == 12
    assert axes.zip_flat((1, 2), (3, 4)) == (1, 3, 2, 4)
    assert axes.slice_shape((-1, 5, 6), (slice(None), 0)) == (-1, 6)
    with pytest.raises(ValueError, match="no known size"):
        axes.slice_shape((-1, 5), slice(1, 2))
    # (n, h, w, c) . (h, k): batch of h, then n, w, c.
    assert [axes.axis_after_dot(a, [2], [1]) for a in (0, 1, 3)] == [1, 0, 2]
    with pytest.raises(ValueError, match="odd number"):
        axes.unzip_axes(x)


def test_trees():
    assert trees.canonicalize_get("NTK") == (True, ("ntk",))
    assert trees.canonicalize_get(("NNGP", "ntk")) == (False, ("nngp", "ntk"))
    double = trees.nt_tree_fn()(lambda x: 2 * x)
    assert double((1, [2, 3])) == (2, [4, 6])

    @trees.get_namedtuple("Answer")
    def answers(x, get=None):
        return {name: (x, name) for name in get or ("nngp", "ntk")}

    assert answers(1, "NTK") == (1, "ntk")
    assert answers(1, ("ntk", "nngp")).nngp == (1, "nngp")
    assert type(answers(1)).__name__ == "Answer"
    x = jnp.ones((2, 3))
    assert bool(trees.x1_is_x2((x, x), (x, x + 0)))
    assert not bool(trees.x1_is_x2(x, 2 * x))
    with pytest.raises(TypeError, match=r"x1 is a float.*jax.numpy.asarray"):
        trees.x1_is_x2(1.0, x)
    with pytest.raises(ValueError, match=r"cov1 is None.*pass kernel.cov1"):
        diagonals.get_diagonal_outer_prods(None, None, True, True, operator.mul)
    assert trees.split_kwargs({"a": (1, 2), "b": 3}) == ({"a": 1, "b": 3}, {"a": 2, "b": 3})
    assert trees.is_nt_tree_of([x, (x,)], jnp.ndarray)
    assert trees.all_none((None, [None]))


def test_dataclasses():
    @dataclass
    class Data:
        array: jnp.ndarray
        flag: bool = field(pytree_node=False)

    data = Data(jnp.ones(2), True).replace(array=jnp.zeros(2))
    assert data.asdict()["flag"] is True
    assert float(data.astuple()[0][0]) == 0
    assert len(jax.tree.leaves(data)) == 1


@pytest.mark.parametrize("diagonal_spatial", [False, True])
def test_a_nonlinearity_in_the_old_way(diagonal_spatial):
    """ReLU, of the products of variances, as layers of that library are written."""

    @stax.layer
    @stax.supports_masking(remask_kernel=True)
    def OwnRelu():
        def kernel_fn(k):
            prods = diagonals.get_diagonal_outer_prods(
                k.cov1, k.cov2, k.diagonal_batch, k.diagonal_spatial, operator.mul
            )
            results = []
            for cov, prod in zip((k.cov1, k.nngp, k.cov2), prods, strict=True):
                if cov is None:
                    results.append((None, None))
                    continue
                root = covariances.safe_sqrt(prod - cov**2)
                angle = jnp.pi - covariances.safe_arctan2(root, cov, fill_zero=jnp.pi / 2)
                results.append(((root + angle * cov) / (2 * jnp.pi), angle / (2 * jnp.pi)))
            ntk = None if k.ntk is None else k.ntk * results[1][1]
            return k.replace(cov1=results[0][0], nngp=results[1][0], cov2=results[2][0], ntk=ntk)

        return requirements.elementwise(stax, lambda x: jnp.maximum(x, 0), "OwnRelu", kernel_fn)

    dense = stax.Dense(1, 1.5, 0.1)
    own, ours = (
        stax.serial(dense, layer).kernel_fn(Z1[:, :2, :2], Z2[:, :2, :2])
        for layer in (OwnRelu(), stax.Relu())
    )
    for name in FIELDS:
        np.testing.assert_allclose(getattr(own, name), getattr(ours, name), atol=1e-7)
    kernel = stax.Identity().kernel_fn(Z1, Z2, diagonal_spatial=diagonal_spatial)
    prod12 = diagonals.get_diagonal_outer_prods(
        kernel.cov1, kernel.cov2, True, diagonal_spatial, operator.mul
    )[1]
    v1, v2 = (np.mean(np.square(z), -1) for z in (Z1, Z2))
    pairs = "nhw,mhw->nmhw" if diagonal_spatial else "nhw,mHW->nmhHwW"
    np.testing.assert_allclose(prod12, np.einsum(pairs, v1, v2), rtol=1e-12)
    with pytest.raises(ValueError, match="not Gaussian; put a Dense"):
        OwnRelu().kernel_fn(Z1[:, 0, 0])


@pytest.mark.parametrize("padding", ["VALID", "SAME", "CIRCULAR"])
def test_taps_of_convolutions_and_pools(padding):
    taps, strides = (3, 2), (2, 1)
    conv = stax.Conv(1, taps, strides, padding, 1.3, 0.2).kernel_fn(Z1, Z2)
    found = covariances.conv_full_shared(KERNEL.nngp, taps, strides, stax.Padding[padding], 2)
    found = covariances.affine(axes.reverse_zipped(found, 2), 1.3, 0.2)
    np.testing.assert_allclose(found, conv.nngp, atol=1e-12)
    equal = covariances.conv_diagonal(
        jnp.einsum("nmhhww->nmhw", KERNEL.nngp), taps, strides, padding, 2
    )
    np.testing.assert_allclose(
        covariances.affine(equal, 1.3, 0.2), jnp.einsum("nmhhww->nmhw", conv.nngp), atol=1e-12
    )
    local = stax.ConvLocal(1, taps, strides, padding, 1.3).kernel_fn(Z1, Z2)
    alone = covariances.conv_full_unshared(KERNEL.nngp, taps, strides, padding, 2)
    np.testing.assert_allclose(covariances.affine(alone, 1.3, None), local.nngp, atol=1e-12)
    for kind in covariances.Pooling:
        pool = (stax.AvgPool if kind.name == "AVG" else stax.SumPool)(taps, strides, padding)
        found = covariances.pool_kernel(
            KERNEL.nngp, kind, axes.double_tuple(taps), axes.double_tuple(strides), padding,
            False, 2,
        )  # fmt: skip
        np.testing.assert_allclose(found, pool.kernel_fn(Z1, Z2).nngp, atol=1e-12)


def test_pairs_of_examples():
    def fn(cov, v1, v2):
        return cov / jnp.sqrt(v1 * v2)

    v1, v2 = (jnp.mean(jnp.square(z), -1) for z in (Z1, Z2))
    found = covariances.over_pairs(fn, KERNEL.nngp, v1, v2, False, False)
    wanted = KERNEL.nngp / jnp.sqrt(jnp.einsum("nhw,mHW->nmhHwW", v1, v2))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    alone = covariances.over_pairs(fn, KERNEL.cov1, v1, None, True, False)
    wanted = KERNEL.cov1 / jnp.sqrt(jnp.einsum("nhw,nHW->nhHwW", v1, v1))
    np.testing.assert_allclose(alone, wanted, rtol=1e-12)
    doubled = covariances.diag_mul(KERNEL.cov1, 2.0, True, False)
    eye = jnp.einsum("hH,wW->hHwW", jnp.eye(5), jnp.eye(6))
    np.testing.assert_allclose(doubled, KERNEL.cov1 * (1 + eye), rtol=1e-12)


def test_inputs_become_a_kernel():
    kernel = requirements.inputs_to_kernel(Z1, Z2, compute_ntk=False)
    assert kernel.ntk is None
    np.testing.assert_allclose(kernel.nngp, KERNEL.nngp, atol=1e-14)
    flat = requirements.inputs_to_kernel(Z1, None, channel_axis=None, diagonal_batch=False)
    assert flat.cov1.shape == flat.nngp.shape == (4, 4)


def test_means_of_what_is_not_masked():
    hidden = RNG.uniform(size=(4, 5)) < 0.5
    x = RNG.normal(size=(4, 5))
    wanted = np.ma.masked_array(x, hidden)
    shown = jnp.asarray(np.where(hidden, 0, x))
    mean, var = diagonals.mean_and_var(shown, (1,), mask=jnp.asarray(hidden), get_var=True)
    np.testing.assert_allclose(mean, wanted.mean(1).filled(0), atol=1e-12)
    np.testing.assert_allclose(var, wanted.var(1).filled(0), atol=1e-12)
    plain = diagonals.mean_and_var(x, (1,), get_var=True)
    np.testing.assert_allclose(plain[1], x.var(1), atol=1e-12)
