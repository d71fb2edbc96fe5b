"""Masks of layers along the batch axis: Index, ImageResize, DotGeneral and LayerNorm of examples.

Both batches of a call are put together to one in NumPy: there the layer is a matrix on examples and
positions, or a factor for each batch, and the kernels of a call are blocks of what comes out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from tests.contract import twins
from tests.contract.twins_masks import masked, middle, zeroed
from tests.contract.twins_positions import triangle
from tests.helpers import fast_jit

COUNT, LENGTH = 3, 4
CONV = stax.Conv(4, (3,), padding="SAME", W_std=1.3, b_std=0.3)
TWIN = masked(twins.conv((3,), padding="SAME", W_std=1.3, b_std=0.3), middle((3,), padding="SAME"))
OF_EACH = np.array([0.5, 0.0, -2.0])
OF_ALL = np.random.default_rng(3).normal(size=(COUNT, LENGTH)) * (np.arange(LENGTH) != 1)


def on_examples(matrix):
    """A[(N, P), (n, p)] of a matrix on examples alone."""
    return np.einsum("Nn,Pp->NPnp", matrix, np.eye(LENGTH))


#: Layers, and their matrices (examples and positions after, before).
MAPS = {
    "Index": (stax.Index(stax.Slice[::-2]), on_examples(np.eye(COUNT)[::-2])),
    "Index of a list": (stax.Index(((2, 0, 0),)), on_examples(np.eye(COUNT)[[2, 0, 0]])),
    "ImageResize": (
        stax.ImageResize((5, -1, -1), "linear"), on_examples(triangle(COUNT, 5, widens=False)),
    ),
    "DotGeneral of examples": (
        stax.DotGeneral(rhs=OF_EACH, dimension_numbers=(((), ()), ((0,), (0,)))),
        on_examples(np.diag(OF_EACH)),
    ),
    "DotGeneral of examples and positions": (
        stax.DotGeneral(rhs=OF_ALL, dimension_numbers=(((1,), (1,)), ((0,), (0,)))),
        np.einsum("Nn,np->Nnp", np.eye(COUNT), OF_ALL)[:, None],
    ),
}  # fmt: skip
NORMS = {
    "LayerNorm of examples": (stax.LayerNorm((0, -1), eps=0.1), (0,)),
    "LayerNorm of examples and positions": (stax.LayerNorm((0, 1, -1), eps=0.1), (0, 1)),
}


def batches(kind, constant):
    rng = np.random.default_rng(0)
    x1, x2 = (rng.normal(size=(COUNT, LENGTH, 2)) for _ in range(2))
    if kind == "position":
        x1[0, 1:3], x2[1, 0], x1[2, 3] = constant, constant, constant
    if kind == "feature":
        x1[0, 0, 1], x2[:, 2, 0] = constant, constant
    if kind == "row":
        x1[:, 2], x2[:, 0] = constant, constant
    if kind == "example":
        x1[2], x2[0] = constant, constant
    if kind == "all":
        x1[:], x2[:] = constant, constant
    return x1, x2


def of_all_pairs(x1, x2, constant):
    """K, Theta [(n, p), (n', p')] after the convolution, and the mask (n, p), of both batches."""
    x = np.concatenate([x1, x2])
    hidden = np.isnan(x) if np.isnan(constant) else x == constant
    m = hidden.all(-1)
    k = twins.inputs(np.where(hidden, 0.0, x), np.where(hidden, 0.0, x), 4)
    k, m, _ = TWIN((zeroed(k, m, m), m, m))
    return k.cov, k.ntk, m


def blocks(array):
    """Of examples of both batches with each other: first with second, each of first alone."""
    half = len(array) // 2
    return array[:half, half:], np.stack([array[i, i] for i in range(half)])


@functools.cache
def program(layer):
    network = stax.serial(CONV, layer)

    def kernels(x1, x2, constant):
        return network.kernel_fn(x1, x2, mask_constant=constant)

    return network, fast_jit(kernels)


def compared(layer, cov, ntk, mask, x1, x2, constant):
    network, kernel_fn = program(layer)
    kernel = kernel_fn(x1, x2, constant)
    (nngp, cov1), (theta, _) = blocks(cov), blocks(ntk)
    for name, wanted in (("nngp", nngp), ("cov1", cov1), ("ntk", theta)):
        found = np.asarray(getattr(kernel, name)).reshape(wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=1e-12, err_msg=name)
    made = kernel.mask1.reshape(len(mask) // 2, -1), kernel.mask2.reshape(len(mask) // 2, -1)
    np.testing.assert_array_equal(np.concatenate(made), mask)
    _, params = network.init_fn(jax.random.key(0), x1.shape)
    out = network.apply_fn(params, x1, mask_constant=constant)
    hidden = jnp.broadcast_to(out.mask, out.masked_value.shape).all(-1)
    np.testing.assert_array_equal(hidden.reshape(made[0].shape), made[0])


@pytest.mark.parametrize("name", list(MAPS))
def test_maps_of_examples(name):
    layer, matrix = MAPS[name]
    both = np.zeros((2, *matrix.shape[:2], 2, *matrix.shape[2:]))
    both[0, ..., 0, :, :] = both[1, ..., 1, :, :] = matrix
    both = both.reshape(2 * len(matrix), matrix.shape[1], 2 * COUNT, LENGTH)
    for kind, constant in (
        ("position", 7.0), ("feature", 7.0), ("row", np.nan), ("example", np.nan), ("all", 7.0),
    ):  # fmt: skip
        x1, x2 = batches(kind, constant)
        cov, ntk, mask = of_all_pairs(x1, x2, constant)
        after = [np.einsum("NPnp,nmpq,MQmq->NMPQ", both, k, both) for k in (cov, ntk)]
        # Masked where all that an output is made of is.
        seen = np.einsum("NPnp,np->NP", both != 0, ~mask) > 0
        compared(layer, *after, ~seen, x1, x2, constant)


@pytest.mark.parametrize("name", list(NORMS))
def test_norms_of_examples(name):
    layer, over = NORMS[name]
    for kind, constant in (
        ("position", 7.0), ("feature", 7.0), ("row", np.nan), ("example", np.nan), ("all", 7.0),
    ):  # fmt: skip
        x1, x2 = batches(kind, constant)
        cov, ntk, mask = of_all_pairs(x1, x2, constant)
        factors = []
        for batch in (range(COUNT), range(COUNT, 2 * COUNT)):
            of_batch = np.zeros((COUNT, LENGTH))
            for position in range(LENGTH):
                places = [(n, p) for n in batch for p in range(LENGTH)
                          if (1 in over or p == position) and not mask[n, p]]  # fmt: skip
                total = sum(cov[n, n, p, p] for n, p in places)
                of_batch[:, position] = (0.1 + total / max(len(places), 1)) ** -0.5
            factors.append(of_batch)
        f = np.concatenate(factors)
        both = f[:, None, :, None] * f[None, :, None, :]
        compared(layer, both * cov, both * ntk, mask, x1, x2, constant)
