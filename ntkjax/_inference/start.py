"""Where the training of one network starts: its outputs at time 0."""

from typing import Any, NamedTuple

from jax import Array

from ntkjax._inference.arguments import float_array, kernel_array
from ntkjax._inference.layout import Layout
from ntkjax._kernel.arrays import check_finite


class Start(NamedTuple):
    """The outputs at time 0 and the kernel of test with training points, where they are given."""

    train: Array | None
    test: Array | None
    cross: tuple[Array, tuple[int, ...]] | None

    def answer(self, train: Any, test: Any) -> Any:
        """What was asked for, of outputs on the training and on the test points."""
        if self.test is None:
            return train
        return test if self.train is None else (train, test)


def start_of_training(
    layout: Layout,
    fx_train_0: Any,
    fx_test_0: Any,
    k_test_train: Any,
    names: tuple[str, str] = ("fx_train_0", "fx_test_0"),
) -> Start:
    """The start of training; raises where it does not fit, or asks for nothing."""
    on_train, on_test = names
    if fx_train_0 is None and fx_test_0 is None:
        raise ValueError(
            f"{on_train} and {on_test} are both None, so that nothing is asked for: pass the "
            "outputs before training on training points, on test points, or both"
        )
    if fx_test_0 is not None and k_test_train is None:
        raise ValueError(
            f"{on_test} comes without k_test_train: pass the kernel of the test points with the "
            "training points, kernel_fn(x_test, x_train, 'ntk')"
        )
    train = test = cross = None
    if fx_train_0 is not None:
        train = outputs_array(on_train, fx_train_0, layout.shape)
    if fx_test_0 is not None:
        kernel = kernel_array(k_test_train, "ntk", "k_test_train")
        cross = layout.cross_matrix(kernel, "k_test_train")
        test = outputs_array(on_test, fx_test_0, layout.output_shape(cross[1]))
    return Start(train, test, cross)


def outputs_array(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Outputs at time 0, finite: one number, or an array of the shape of the outputs."""
    array = float_array(value, name)
    if array.shape not in ((), shape):
        raise ValueError(
            f"{name} has shape {array.shape}, expected {shape}, the shape of the outputs there: "
            "pass f(params, x), or 0."
        )
    check_finite(name, array)
    return array
