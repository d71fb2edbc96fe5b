"""Methods of `Kernel` do to a kernel what the function of their name does to activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax

RNG = np.random.default_rng(0)
#: Activations (example, height, width, channel), whose kernel is the mean product of channels.
Z1, Z2 = RNG.normal(size=(4, 3, 2, 5)), RNG.normal(size=(3, 3, 2, 5))
FIELDS = ("nngp", "cov1", "cov2", "distance")
HIDDEN = [RNG.uniform(size=(n, 3, 2, 1)) < 0.4 for n in (4, 3)]
ROWS, BATCH = RNG.normal(size=(6, 3)), RNG.normal(size=(3, 6, 2))


def kernel_of(z1, z2=None, **options):
    return stax.Identity().kernel_fn(z1, z2, **options)


def equal(found, wanted, fields=FIELDS):
    assert (found.shape1, found.shape2) == (wanted.shape1, wanted.shape2)
    assert (found.batch_axis, found.channel_axis) == (wanted.batch_axis, wanted.channel_axis)
    for name in fields:
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=1e-12, err_msg=name)


def dot(z, factor, is_lhs, numbers):
    """`jax.lax.dot_general` of activations, with the batch in front and channels last."""
    a, b = jnp.asarray(z), jnp.asarray(factor)
    return jax.lax.dot_general(*((b, a) if is_lhs else (a, b)), numbers)


INDICES = [
    (slice(None), slice(1, 3)),
    (slice(0, 2), slice(None), 1),
    (Ellipsis, slice(None, None, -1), slice(None)),
    (slice(None), (2, 0)),
]


@pytest.mark.parametrize("options", [{}, {"diagonal_spatial": True}, {"diagonal_batch": False}])
@pytest.mark.parametrize("symmetric", [False, True])
def test_cuts(options, symmetric):
    z2 = None if symmetric else Z2
    kernel = kernel_of(Z1, z2, **options)
    for index in INDICES:
        taken = tuple(list(i) if isinstance(i, tuple) else i for i in index)
        z1, other = Z1[taken], None if symmetric else Z2[taken]
        channel = z1.ndim - 1
        wanted = kernel_of(z1, other, channel_axis=channel, **options)
        equal(kernel[index], wanted)
    one, two = slice(1, 3), slice(0, 2)
    cut = kernel.slice(one, two)
    equal(cut, kernel_of(Z1[one], (Z1 if symmetric else Z2)[two], **options))
    turned = [None if z is None else z.transpose(0, 2, 1, 3) for z in (Z1, z2)]
    equal(kernel.transpose((1, 0)), kernel_of(*turned, **options), FIELDS[:3])


def test_no_axes_are_no_change():
    equal(kernel_of(Z1, Z2).transpose(), kernel_of(Z1, Z2))


@pytest.mark.parametrize("options", [{}, {"diagonal_spatial": True}, {"diagonal_batch": False}])
def test_masks(options):
    hidden = [jnp.asarray(mask) for mask in HIDDEN]
    masked = [np.where(mask, 0, z) for mask, z in zip(HIDDEN, (Z1, Z2), strict=True)]
    equal(kernel_of(Z1, Z2, **options).mask(*hidden), kernel_of(*masked, **options), FIELDS[:3])
    alone = kernel_of(Z1, **options).mask(hidden[0], None)
    equal(alone, kernel_of(masked[0], **options), FIELDS[:3])
    np.testing.assert_array_equal(alone.mask1, HIDDEN[0])


@pytest.mark.parametrize(
    ("factor", "is_lhs", "numbers"),
    [
        (ROWS, True, (((1,), (1,)), ((), ()))),
        (ROWS, False, (((1,), (1,)), ((), ()))),
        (BATCH, False, (((1, 2), (0, 2)), ((), ()))),
        (RNG.normal(size=(3, 2)), False, (((2,), (1,)), ((1,), (0,)))),
    ],
)
def test_dot_general(factor, is_lhs, numbers):
    z1, z2 = (dot(z, factor, is_lhs, numbers) for z in (Z1, Z2))
    found = kernel_of(Z1, Z2).dot_general(jnp.asarray(factor), None, is_lhs, numbers)
    assert (found.shape1, found.shape2) == (z1.shape, z2.shape)
    assert z1.shape[found.batch_axis] == len(Z1)
    assert z1.shape[found.channel_axis] == 5
    axes = {"batch_axis": found.batch_axis, "channel_axis": found.channel_axis}
    equal(found, kernel_of(z1, z2, **axes), FIELDS[:3])
    assert kernel_of(Z1).dot_general(None, None, is_lhs, numbers).nngp.shape == (4, 4, 3, 3, 2, 2)


def test_reversed_kernels_are_read_in_order():
    kernel = kernel_of(Z1, Z2)
    turned = kernel.reverse()
    assert turned.is_reversed
    assert turned.nngp.shape == (4, 3, 2, 2, 3, 3)
    equal(turned.reverse(), kernel)
    head = stax.serial(stax.Conv(1, (2, 1)), stax.Relu(), stax.Flatten()).kernel_fn
    equal(head(turned), head(kernel))
    equal(turned[:, 1:], kernel[:, 1:])
    hidden = [jnp.asarray(mask) for mask in HIDDEN]
    equal(turned.mask(*hidden).reverse(), kernel.mask(*hidden))


def test_reversed_kernels_of_three_axes_are_transposed():
    """Against the mean products of channels of transposed activations, in NumPy."""
    z1, z2 = RNG.normal(size=(2, 4, 3, 2, 5)), RNG.normal(size=(3, 4, 3, 2, 5))
    for axes in ((1, 2, 0), (2, 0, 1), (0, -1, 1)):
        a, b = (z.transpose(0, *(1 + k % 3 for k in axes), 4) for z in (z1, z2))
        nngp = np.einsum("nhwdc,mHWDc->nmdDwWhH", a, b) / 5  # the last axis of positions first
        turned = kernel_of(z1, z2).reverse().transpose(axes)
        assert turned.is_reversed
        assert (turned.shape1, turned.shape2) == (a.shape, b.shape)
        np.testing.assert_allclose(turned.nngp, nngp, atol=1e-12)
        equal(turned.reverse(), kernel_of(a, b), FIELDS[:3])


def test_all_pairs_of_a_batch_are_read_as_single_examples():
    head = stax.serial(stax.Dense(1), stax.Relu()).kernel_fn
    equal(head(kernel_of(Z1, Z2, diagonal_batch=False)), head(kernel_of(Z1, Z2)))


def test_fields_by_name_and_in_order():
    kernel = kernel_of(Z1, Z2)
    assert kernel.asdict()["nngp"] is kernel.nngp
    assert kernel.astuple()[0] is kernel.nngp
    assert len(kernel.astuple()) == len(kernel.asdict()) == 17
    assert (+kernel) is kernel


ERRORS = [
    (lambda k: k[..., 0], NotImplementedError, "infinitely many"),
    (lambda k: k[0], NotImplementedError, "no batch axis; use a slice"),
    (lambda k: k.mask(jnp.ones((4, 3, 2, 5), bool), None), NotImplementedError, "single channel"),
    (lambda k: k.transpose((0, 0)), ValueError, "each of the 2 axes"),
    (
        lambda k: k.dot_general(jnp.ones((5,)), None, False, (((3,), (0,)), ((), ()))),
        ValueError,
        "contract other axes",
    ),
    (
        lambda k: k.dot_general(jnp.ones((3,)), jnp.ones((3, 1)), False, (((1,), (0,)), ((), ()))),
        NotImplementedError,
        "the same axes",
    ),
    (
        lambda k: k.dot_general(jnp.ones((4,)), None, False, (((0,), (0,)), ((), ()))),
        NotImplementedError,
        "no batch is left",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS, ids=[m for *_, m in ERRORS])
def test_errors(call, kind, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(kernel_of(Z1))
    assert isinstance(caught.value, kind)
