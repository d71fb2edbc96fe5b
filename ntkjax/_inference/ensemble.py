"""Outputs of an infinite ensemble during training on the squared error, by any clock."""

from collections.abc import Callable, Sequence
from typing import Any

from jax import Array

from ntkjax._inference.arguments import diagonal_regularizer
from ntkjax._inference.clock import Clock
from ntkjax._inference.evolution import outputs_on_test, outputs_on_train
from ntkjax._inference.kernel_keywords import keywords_between, keywords_on_test
from ntkjax._inference.layout import layout_of
from ntkjax._inference.posterior import posterior
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._kernel.devices import on_one_device
from ntkjax._kernel.get import answer, requested_names

_KNOWN = ("nngp", "ntk")


class Ensemble:
    """An ensemble of networks, given by a `kernel_fn`, whose training some clock counts.

    The arguments are those of `gradient_descent_mse_ensemble`: `y` as `targets_array` returns it,
    `ridge` the two of the regulariser, `keywords` those of `kernel_fn` on training points.
    """

    def __init__(
        self,
        kernel_fn: Callable[..., Any],
        x_train: Any,
        y: Array,
        clock: Clock,
        ridge: tuple[float, bool],
        trace_axes: int | Sequence[int],
        keywords: dict[str, Any],
    ) -> None:
        if not callable(kernel_fn):
            raise TypeError(
                f"kernel_fn must be callable, got {type(kernel_fn).__name__}: pass the third value "
                "of stax.serial"
            )
        regularizer = diagonal_regularizer(*ridge)
        x_train, y = on_one_device(x_train, y)
        self.kernel_fn, self.x_train, self.y, self.clock = kernel_fn, x_train, y, clock
        self.keywords = keywords
        self.training = TrainingKernel(
            lambda kinds: kernel_fn(x_train, None, kinds, **keywords),
            "kernel_fn(x_train)",
            layout_of(y, trace_axes),
            regularizer,
        )

    def outputs(
        self, time: Any, x_test: Any, get: Any, compute_cov: bool, keywords: dict[str, Any]
    ) -> Any:
        """What `predict_fn` of `gradient_descent_mse_ensemble` returns; time None is the end."""
        names = requested_names(get, _KNOWN, f"{_KNOWN}") or _KNOWN
        _, time, x_test, keywords = on_one_device((self.x_train, self.y), time, x_test, keywords)
        timing = None if time is None else self.clock.timing(time)
        test_only = keywords_on_test(self.keywords, keywords)
        # The covariance during any training has the NNGP in it, the covariance before training.
        kinds = tuple(n for n in _KNOWN if n in names or (compute_cov and n == "nngp"))
        self.training.matrices(kinds)  # both kernels from one evaluation
        cross = test = None
        if x_test is not None:
            joined = keywords_between(self.keywords, keywords)
            cross = self.kernel_fn(x_test, self.x_train, kinds, **joined)
            if compute_cov:
                test = self.kernel_fn(x_test, None, ("nngp",), **test_only)

        def predict(name: str) -> Any:
            if timing is None:
                self.clock.check_end(self.training, name)
                with_covariance = compute_cov or None if cross is None else test
                return posterior(self.training, self.y, name, cross, with_covariance)
            if cross is None:
                return outputs_on_train(self.training, self.y, name, timing, compute_cov)
            return outputs_on_test(self.training, self.y, name, timing, cross, test)

        return answer(get, names, predict, "Gaussians")
