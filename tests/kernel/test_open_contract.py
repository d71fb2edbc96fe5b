"""The contract is open: operations of kinds that no layer has yet fit it, with distances and tiles.

Each operation here is checked against a computation on full matrices in NumPy, and in several tiles
against one.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax._kernel.algebra.graph import Join
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import (
    BatchOperation,
    LayerError,
    RowOperation,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs, covariance
from ntkjax._kernel.algebra.window import Window
from ntkjax._kernel.operations.taps import TapSum
from ntkjax._kernel.operations.whole import LinearMap
from ntkjax._layers.layer import make_layer
from ntkjax.stax import Conv, Dense, FanOut, Flatten, GlobalAvgPool, Relu, parallel, serial


def layer(operation, *, joins=False):
    """A layer of one operation, without a finite network."""
    part = Join(operation) if joins else operation
    nothing = lambda *args, **kwargs: None  # noqa: E731
    return make_layer(type(operation).__name__, "", (part,), nothing, nothing)


@pytest.fixture(autouse=True)
def usual_promotion():
    """These operations are written as a user would, who promotes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def images(n, size=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size, 2))


def conv():
    return Conv(1, (3,), padding="SAME", W_std=1.3, b_std=0.2)


def in_tiles(kernel_fn, *args):
    """A kernel made in several tiles, which there must be."""
    with ntkjax.config.set(memory_budget=2**15):
        shapes = [x if x is None else x.shape for x in args[:2]]
        assert kernel_fn.plan(*shapes, args[2]).tiles > 1
        return kernel_fn(*args)


def relu_kernel(cov, var1, var2):
    """E relu(u) relu(v) and E relu'(u) relu'(v), by the textbook."""
    product = np.sqrt(var1 * var2)
    theta = np.arccos(np.clip(cov / product, -1, 1))
    nngp = product * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    return nngp, (np.pi - theta) / (2 * np.pi)


def full(network, x1, x2, name="nngp"):
    """A kernel with all pairs of positions, (n1, n2, p, q), and the variances of both sides."""
    kernel = network.kernel_fn(x1, x2)
    own = [np.einsum("nppk->np", np.asarray(c)[..., None]) for c in (kernel.cov1, kernel.cov2)]
    return np.asarray(getattr(kernel, name)), *own


@operation
class Mask(RowOperation):
    """Positions at which the first channel of an input is positive count; others are zero."""

    def infer(self, signals, source):
        return signals[0]

    def of_image(self, images, context):
        (image,) = images
        mask = image.data["mask"]
        return image.with_variance(image.variance * mask), (mask, image.variance)

    def pair(self, pairs, seen, step):
        (given,), (m1, v1), (m2, v2) = pairs, seen.first, seen.second
        both = m1 * m2
        # Zero on one side only: the distance is the other side's variance.
        distance = both * given.moment + (m1 - both) * v1 + (m2 - both) * v2
        return Pairs(distance, None if given.ntk is None else both * given.ntk)

    def takes_distance(self, is_distance):
        return True

    gives_distance = True


@operation
class ReadMask(RowOperation):
    """Pass the input on, and note which of its positions count."""

    def infer(self, signals, source):
        return signals[0]

    def of_image(self, images, context):
        (image,) = images
        values = image.data["values"][0]
        mask = (values > 0).astype(values.dtype)
        return dataclasses.replace(image, data={**image.data, "mask": mask}), None

    def pair(self, pairs, seen, step):
        return pairs[0]


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_data_of_images_reach_operations(get):
    below, x1, x2 = conv(), images(5), images(4, seed=1)
    network = serial(layer(ReadMask()), below, layer(Mask()), conv(), Relu(), Flatten())
    mask1, mask2 = ((x[..., 0] > 0).astype(float) for x in (x1, x2))
    both = mask1[:, None, :, None] * mask2[None, :, None, :]

    nngp, var1, var2 = full(below, x1, x2)
    ntk, *_ = full(below, x1, x2, "ntk")
    masked = Kernel_like(nngp * both, ntk * both, var1 * mask1, var2 * mask2)
    expected = mean_over_positions(relu_of(conv_of(masked)))
    got = network.kernel_fn(x1, x2, get)
    np.testing.assert_allclose(got, getattr(expected, get), rtol=1e-8)
    np.testing.assert_allclose(in_tiles(network.kernel_fn, x1, x2, get), got, rtol=1e-12)


class Kernel_like:
    """A kernel over one axis of positions: (n1, n2, p, q), and variances (n, p)."""

    def __init__(self, nngp, ntk, var1, var2):
        self.nngp, self.ntk, self.var1, self.var2 = nngp, ntk, var1, var2


def conv_of(kernel):
    """Three taps, SAME, of `conv`: a loop over taps."""

    def taps(array, axes):
        total = 0
        for tap in (-1, 0, 1):
            moved = array
            for axis in axes:
                pad = [(0, 0)] * array.ndim
                pad[axis] = (1, 1)
                moved = np.pad(moved, pad).take(np.arange(array.shape[axis]) + 1 + tap, axis)
            total = total + moved / 3
        return total

    nngp = 1.3**2 * taps(kernel.nngp, (2, 3)) + 0.2**2
    ntk = nngp + 1.3**2 * taps(kernel.ntk, (2, 3))
    var1, var2 = (1.3**2 * taps(v, (1,)) + 0.2**2 for v in (kernel.var1, kernel.var2))
    return Kernel_like(nngp, ntk, var1, var2)


def relu_of(kernel):
    v1, v2 = kernel.var1[:, None, :, None], kernel.var2[None, :, None, :]
    nngp, slope = relu_kernel(kernel.nngp, v1, v2)
    return Kernel_like(nngp, kernel.ntk * slope, kernel.var1 / 2, kernel.var2 / 2)


def mean_over_positions(kernel):
    nngp, ntk = (np.einsum("mnpp->mn", k) / k.shape[-1] for k in (kernel.nngp, kernel.ntk))
    return Kernel_like(nngp, ntk, kernel.var1.mean(1), kernel.var2.mean(1))


@operation
class Attention(LinearMap):
    """Each position becomes a mean of all, weighted by the softmax of its covariances."""

    def infer(self, signals, source):
        return dataclasses.replace(signals[0], is_gaussian=False)

    def weights(self, image, own, step):
        return jnp.moveaxis(jax.nn.softmax(own, -1), 0, -1)


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_whole_kernels_with_weights_from_data(get):
    below, x1, x2 = serial(conv(), Relu(), conv()), images(5), images(4, seed=1)
    network = serial(below, layer(Attention()), conv(), Relu(), Flatten())
    kernel = below.kernel_fn(x1, x2)
    weights = [np.asarray(jax.nn.softmax(c, -1)) for c in (kernel.cov1, kernel.cov2)]
    mixed = [np.einsum("mPp,mnpq,nQq->mnPQ", weights[0], k, weights[1])
             for k in (kernel.nngp, kernel.ntk)]  # fmt: skip
    own = [np.einsum("mPp,mpq,mPq->mP", w, c, w)
           for w, c in zip(weights, (kernel.cov1, kernel.cov2), strict=True)]  # fmt: skip
    expected = mean_over_positions(relu_of(conv_of(Kernel_like(*mixed, *own))))
    got = network.kernel_fn(x1, x2, get)
    np.testing.assert_allclose(got, getattr(expected, get), rtol=1e-8)
    np.testing.assert_allclose(in_tiles(network.kernel_fn, x1, x2, get), got, rtol=1e-12)


def test_whole_kernels_keep_distances():
    """Near-equal points in float32 keep their digits through an attention."""
    x = images(8).astype(np.float32)
    x = np.concatenate([x, x + np.float32(1e-3) * x[::-1]])
    network = serial(conv(), Relu(), conv(), layer(Attention()), conv(), Relu(), GlobalAvgPool())
    high = np.asarray(network.kernel_fn(x.astype(float), None, "ntk"))
    with ntkjax.config.set(dtype="inputs"):
        low = np.asarray(network.kernel_fn(x, None, "ntk"), float)
    # By covariances, 1e-3: what is left is the cancellation of energies, as in pools.
    assert np.max(abs(low - high) / high) < 5e-5


@operation
class Product(RowOperation):
    """The product of two independent branches: K = Ka Kb, Theta = Ka Theta_b + Kb Theta_a.

    D = Ka Db + Kb Da + e1a e1b + e2a e2b with e1 = (v1 - v2 + D) / 2, e2 = (v2 - v1 + D) / 2.
    """

    gives_distance = True

    def infer(self, signals, source):
        return dataclasses.replace(signals[0], is_gaussian=True, sources=frozenset({source}))

    def takes_distance(self, is_distance):
        return True

    def renews_scale(self, scales):
        return True

    def of_image(self, images, context):
        a, b = images
        data = a.data | b.data
        return Image(a.scale * b.scale, a.variance * b.variance, data), (a.variance, b.variance)

    def accepts(self, given, is_distance, ntk):
        return tuple(dataclasses.replace(form, is_distance=True, is_excess=False,
                     has_tangent=ntk and (form.has_tangent or form.is_excess))
                     for form in given)  # fmt: skip

    def pair(self, pairs, seen, step):
        branches = list(zip(pairs, seen.first, seen.second, strict=True))
        (ka, kb) = (covariance(v1, v2, given.moment) for given, v1, v2 in branches)
        (da, db) = (given.moment for given in pairs)
        first = [0.5 * (v1 - v2 + given.moment) for given, v1, v2 in branches]
        second = [0.5 * (v2 - v1 + given.moment) for given, v1, v2 in branches]
        distance = ka * db + kb * da + first[0] * first[1] + second[0] * second[1]
        (ta, tb) = (given.ntk for given in pairs)
        return Pairs(distance, ka * tb + kb * ta if step.here.form.has_tangent else None)


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_two_inputs_with_the_variances_of_both(get):
    branches = Dense(1, 1.2, 0.3), serial(Dense(1, 0.8), Relu(), Dense(1, 1.1, 0.5))
    x1, x2 = (np.random.default_rng(k).normal(size=(n, 3)) for k, n in ((0, 40), (1, 30)))
    network = serial(FanOut(2), parallel(*branches), layer(Product(), joins=True), Relu())
    a, b = (branch.kernel_fn(x1, x2) for branch in branches)
    v1, v2 = a.cov1[:, None] * b.cov1[:, None], a.cov2 * b.cov2
    nngp, slope = relu_kernel(a.nngp * b.nngp, v1, v2)
    expected = {"nngp": nngp, "ntk": (a.nngp * b.ntk + b.nngp * a.ntk) * slope}
    got = network.kernel_fn(x1, x2, get)
    np.testing.assert_allclose(got, expected[get], rtol=1e-8)
    np.testing.assert_allclose(in_tiles(network.kernel_fn, x1, x2, get), got, rtol=1e-12)


@operation
class Noise(RowOperation):
    """Add noise of its own to every image and position: K[x, x, p, p] grows by a variance."""

    variance: float

    def infer(self, signals, source):
        return signals[0]

    def masks(self, here, below, step):
        zero = jnp.asarray(True)
        for d in here.shift:
            zero &= jnp.asarray(d) == 0
        return zero

    def of_image(self, images, context):
        (image,) = images
        one = (1,) * context.step.below.ndim
        more = (self.variance / image.scale**2).reshape(*one, *image.scale.shape)
        return image.with_variance(image.variance + more), more

    def takes_distance(self, is_distance):
        return True

    gives_distance = True

    def pair(self, pairs, seen, step):
        (given,) = pairs
        # Independent noises add to the distance, but for an image with itself.
        more = seen.first + seen.second
        if seen.same is not None:
            more = jnp.where(seen.same & seen.masks, 0.0, more)
        return Pairs(given.moment + more, given.ntk)


@pytest.mark.parametrize("head", [Flatten, GlobalAvgPool])
def test_pairs_of_one_image_with_itself_are_known(head):
    below, x = conv(), images(12)
    network = serial(below, layer(Noise(0.7)), Relu(), head())
    kernel = below.kernel_fn(x)
    cov = np.array(kernel.nngp)
    for i in range(len(x)):
        cov[i, i] += 0.7 * np.eye(4)
    var = np.einsum("nnpp->np", cov)
    after, _ = relu_kernel(cov, var[:, None, :, None], var[None, :, None, :])
    axes = (2, 3)
    expected = after.mean(axes) if head is GlobalAvgPool else np.einsum("mnpp->mn", after) / 4
    got = network.kernel_fn(x, None, "nngp")
    np.testing.assert_allclose(got, expected, rtol=1e-8)
    np.testing.assert_allclose(in_tiles(network.kernel_fn, x, None, "nngp"), got, rtol=1e-12)


@operation
class Smooth(BatchOperation):
    """Each example becomes the mean of itself and its neighbours in the batch."""

    def infer(self, signals, source):
        return dataclasses.replace(signals[0], is_gaussian=False)

    def of_batches(self, kernel):
        one, two = (_smoothing(s[kernel.batch_axis]) for s in (kernel.shape1, kernel.shape2))
        cov1, cov2 = (
            None if c is None else jnp.einsum("Mm,mn...,Mn->M...", b, c, b)
            for b, c in ((one, kernel.cov1), (two, kernel.cov2))
        )
        return kernel.replace(
            nngp=jnp.einsum("Mm,mn...,Nn->MN...", one, kernel.nngp, two),
            ntk=jnp.einsum("Mm,mn...,Nn->MN...", one, kernel.ntk, two),
            cov1=cov1, cov2=cov2, diagonal_batch=True, is_gaussian=False,
        )  # fmt: skip


def _smoothing(count):
    matrix = np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    return matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("is_symmetric", [False, True])
def test_along_the_batch_axis(get, is_symmetric):
    below, x1 = serial(Dense(1, 1.2, 0.3), Relu()), np.random.default_rng(0).normal(size=(6, 3))
    x2 = None if is_symmetric else np.random.default_rng(1).normal(size=(4, 3))
    network = serial(below, layer(Smooth()), Dense(1, 1.1, 0.2), Relu())
    y2 = x1 if is_symmetric else x2
    one, two = _smoothing(len(x1)), _smoothing(len(y2))
    nngp, ntk = (one @ np.asarray(below.kernel_fn(x1, y2, k)) @ two.T for k in ("nngp", "ntk"))
    var1 = np.diag(one @ np.asarray(below.kernel_fn(x1, None, "nngp")) @ one.T)
    var2 = np.diag(two @ np.asarray(below.kernel_fn(y2, None, "nngp")) @ two.T)
    nngp = 1.1**2 * nngp + 0.2**2
    ntk = nngp + 1.1**2 * ntk
    after, slope = relu_kernel(nngp, 1.1**2 * var1[:, None] + 0.04, 1.1**2 * var2 + 0.04)
    expected = {"nngp": after, "ntk": ntk * slope}[get]
    np.testing.assert_allclose(network.kernel_fn(x1, x2, get), expected, rtol=1e-6)
    jitted = jax.jit(lambda a, b: network.kernel_fn(a, b, get))
    np.testing.assert_allclose(jitted(x1, x2), expected, rtol=1e-6)


@operation
class Scaled(RowOperation):
    """Scale positions by a fixed vector, which is a static field: its masks depend on it."""

    by: tuple = static()

    def infer(self, signals, source):
        return signals[0]

    def masks(self, here, below, step):
        (d,) = here.shift
        by = jnp.asarray(self.by, np.float32)
        return by * jnp.roll(by, -d)

    def of_image(self, images, context):
        (image,) = images
        if image.variance is None:
            return image, None
        by = np.asarray(self.by, np.float32)[:, None]
        return image.with_variance(image.variance * by**2), (image.variance, by * image.variance)

    def takes_distance(self, is_distance):
        return False

    def pair(self, pairs, seen, step):
        return pairs[0].map(lambda a: a * seen.masks[:, None, None].astype(a.dtype))


def test_nodes_that_differ_in_one_static_field_share_nothing():
    x1, x2 = images(3), images(2, seed=1)
    factors = (1.0, 2.0, 3.0, 4.0), (1.0, -1.0, 0.5, 2.0)
    network = serial(*(layer(Scaled(by)) for by in factors), Flatten())
    by = np.prod(factors, 0)
    expected = np.einsum("mpc,npc,p->mn", x1, x2, by**2) / (4 * 2)
    np.testing.assert_allclose(network.kernel_fn(x1, x2, "nngp"), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "stride"), [(-1, -2, 1), (-1, 0, 2), (0, -3, 2), (2, 1, 1)]
)
def test_windows_have_explicit_offsets(low, high, stride):
    """A window of one tap that cuts positions off, or pads with zeros."""
    below, x1, x2 = serial(conv(), Relu()), images(3, 6), images(2, 6, seed=1)
    window = layer(TapSum((Window(1, stride, 1, (low, high)),)))
    kernel = below.kernel_fn(x1, x2)
    pad = [(max(low, 0), max(high, 0))]
    kept = slice(max(-low, 0), 6 - max(-high, 0))

    def cut(array, axes):
        for axis in axes:
            index = (slice(None),) * axis
            array = array[(*index, kept)]
            array = np.pad(array, [(0, 0)] * axis + pad + [(0, 0)] * (array.ndim - axis - 1))
            array = array[(*index, slice(None, None, stride))]
        return array

    for get in ("nngp", "ntk"):
        expected = cut(np.asarray(getattr(kernel, get)), (2, 3))
        got = serial(below, window).kernel_fn(x1, x2, get)
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-12)
    below_cov = [
        np.einsum("nppk->np", np.asarray(c)[..., None]) for c in (kernel.cov1, kernel.cov2)
    ]
    parts = [cut(np.asarray(k), (2, 3)) for k in (kernel.nngp, kernel.ntk)]
    top = relu_of(conv_of(Kernel_like(*parts, *(cut(v, (1,)) for v in below_cov))))
    network = serial(below, window, conv(), Relu(), GlobalAvgPool())
    np.testing.assert_allclose(network.kernel_fn(x1, x2, "ntk"), top.ntk.mean((2, 3)), rtol=1e-8)


def test_an_error_of_an_operation_names_its_layer():
    @operation
    class Refuses(RowOperation):
        def infer(self, signals, source):
            raise LayerError("it takes nothing; leave it out.")

    with pytest.raises(LayerError, match="Refuses at layer 1: it takes nothing"):
        serial(Dense(1), layer(Refuses())).kernel_fn(np.ones((2, 3)), None, "ntk")


def test_a_kernel_is_what_users_know():
    assert Kernel is ntkjax.stax.Dense(1).kernel_fn(np.ones((1, 2))).__class__
