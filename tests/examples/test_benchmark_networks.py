"""The networks of the benchmark are those that its table names."""

from collections import Counter

import jax
import pytest

from gallery import GALLERY
from jobs import NEAR_EQUAL, ROWS, SCALINGS, scaled
from networks import MissingLayerError, build
from nonlinearities import ARGUMENTS, activation_rows
from ntkjax import stax


class Counting:
    """A stax module that counts the layers that are made."""

    def __init__(self):
        self.made = Counter()

    def __getattr__(self, name):
        layer = getattr(stax, name)

        def make(*args, **kwargs):
            self.made[name] += 1
            return layer(*args, **kwargs)

        return make


def layers_of(row):
    counting = Counting()
    build(counting, row.network, row.options)
    return counting.made


@pytest.mark.parametrize("job", [*ROWS, *NEAR_EQUAL, *activation_rows()], ids=lambda job: job.title)
def test_the_output_is_one_vector_for_each_point(job):
    try:
        init_fn, _, _ = build(stax, job.network, job.options)
    except MissingLayerError as error:
        pytest.skip(str(error))
    shapes = []
    jax.eval_shape(
        lambda key: shapes.append(init_fn(key, (2, *job.shape))[0]) or key, jax.random.key(0)
    )
    assert shapes == [(2, 10 if job.network == "wide_resnet" else 64)]


def test_layers_are_those_of_the_titles():
    deep, flat, myrtle, resnet, pooled, *dense = map(layers_of, ROWS[:7])
    assert (deep["Conv"], deep["Relu"], deep["GlobalAvgPool"], deep["Flatten"]) == (21, 21, 1, 0)
    assert (flat["Conv"], flat["Relu"], flat["GlobalAvgPool"], flat["Flatten"]) == (21, 21, 0, 1)
    assert (myrtle["Conv"], myrtle["Relu"], myrtle["AvgPool"]) == (3, 3, 5)
    # One convolution, 12 blocks of two, and three shortcuts.
    assert (resnet["Conv"], resnet["Relu"], resnet["Identity"]) == (28, 24, 9)
    assert (pooled["Conv"], pooled["Relu"], pooled["AvgPool"]) == (3, 3, 1)
    for layers, name in zip(dense, ("Relu", "Erf"), strict=True):
        assert (layers["Dense"], layers[name]) == (6, 5)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(MissingLayerError, match=r"no stax\.Swish2 in"):
        build(stax, "fully_connected", {"depth": 1, "activation": "Swish2"})


def test_scaling_varies_one_quantity_of_the_first_row():
    first = scaled("depth", 21)
    assert first.options == ROWS[0].options
    for scaling in SCALINGS.values():
        # Image sizes have a larger block, in which a call of small images takes some time as well.
        block = (32, 32) if scaling.quantity == "size" else first.block
        assert scaled(scaling.quantity, scaling.row_1) == first._replace(block=block)
        assert scaling.row_1 in scaling.cases
        assert set(scaling.quick) < set(scaling.cases)
    assert scaled("block", 16) == first._replace(block=(16, 16))
    assert scaled("size", 16) == first._replace(shape=(16, 16, 3), block=(32, 32))
    assert scaled("depth", 5).options == {"depth": 5, "pooling": "GlobalAvgPool"}


def test_every_nonlinearity_of_the_gallery_is_measured():
    assert set(ARGUMENTS) == {entry.name for entry in GALLERY}
    assert [row.block for row in activation_rows(quick=True)] == [500] * len(ARGUMENTS)
