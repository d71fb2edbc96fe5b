"""A finite network as a polynomial in its parameters: linearised, or its Taylor series."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._finite.checks import checked_arrays
from ntkjax._finite.networks import floating_parameters
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.devices import on_one_device


def linearize(f: Callable[..., Any], params: Any) -> Callable[..., Any]:
    r"""The network, linear in its parameters around `params`.

    .. math::
        f_\mathrm{lin}(\theta, x) = f(\theta_0, x) + \partial_\theta f(\theta_0, x)\,
        (\theta - \theta_0).

    Training it by gradient descent is kernel regression with the empirical NTK of `params`. The
    parameters of the network that it is evaluated at may be traced, and so may the inputs.

    Args:
      f: `f(params, *args, **kwargs)`, which returns an array or a pytree of arrays.
      params: the parameters :math:`\theta_0`, a pytree of arrays.

    Returns:
      `f_lin(new_params, *args, **kwargs)`, which returns what `f` returns; `new_params` has the
      structure and shapes of `params`.

    Raises:
      TypeError: `f` is not callable, or `params` holds no real floats.
      ValueError: `params` holds NaN or infinity; when `f_lin` is called, `new_params` does, or is
        another pytree than `params`.

    Source: Lee et al. 2019, arXiv 1902.06720, section 2.2.

    Example:
      >>> import jax.numpy as jnp
      >>> f = lambda params, x: x * params**2
      >>> f_lin = linearize(f, jnp.array(3.0))
      >>> float(f_lin(jnp.array(4.0), 1.0))  # 9 + 6 (4 - 3)
      15.0
    """
    return _expanded("linearize", f, params, 1)


def taylor_expand(f: Callable[..., Any], params: Any, degree: int) -> Callable[..., Any]:
    r"""The Taylor series of a network in its parameters around `params`, up to a degree.

    .. math::
        f_d(\theta, x) = \sum_{k = 0}^d \frac{1}{k!} \frac{\partial^k}{\partial s^k}
        f(\theta_0 + s (\theta - \theta_0), x) \Big|_{s = 0}.

    Derivatives are taken along the one direction :math:`\theta - \theta_0`, by forward mode within
    forward mode: no tensor of higher derivatives is made, and each degree costs about twice the one
    before.

    Args:
      f: `f(params, *args, **kwargs)`, which returns an array or a pytree of arrays.
      params: the parameters :math:`\theta_0`, a pytree of arrays.
      degree: the highest power d, at least 0.

    Returns:
      `f_taylor(new_params, *args, **kwargs)`, which returns what `f` returns.

    Raises:
      TypeError: `f` is not callable, `degree` is no integer, or `params` holds no real floats.
      ValueError: `degree` is negative, or `params` holds NaN or infinity; when `f_taylor` is
        called, `new_params` does, or is another pytree than `params`.

    Source: Bai & Lee 2020, arXiv 1910.01619, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> f = lambda params, x: x * params**3
      >>> f_taylor = taylor_expand(f, jnp.array(1.0), 2)
      >>> float(f_taylor(jnp.array(2.0), 1.0))  # 1 + 3 + 3 = 8 less the cubic term, 1
      7.0
    """
    if isinstance(degree, bool) or not hasattr(degree, "__index__"):
        raise TypeError(
            f"taylor_expand: degree must be an integer, got {describe(degree)}: pass 1 for a linear"
            " network, 2 for a quadratic one"
        )
    if degree < 0:
        raise ValueError(f"taylor_expand: degree must be at least 0, got {degree}: pass 1 or more")
    return _expanded("taylor_expand", f, params, int(degree))


def _expanded(name: str, f: Callable[..., Any], params: Any, degree: int) -> Callable[..., Any]:
    """The Taylor series of `f` around `params`."""
    if not callable(f):
        raise TypeError(
            f"{name}: f must be callable, got {describe(f)}: pass the apply_fn of a network"
        )
    mend = "pass what init_fn returned, after the shape"
    params = checked_arrays(f"{name}: params", params)
    start, restore = floating_parameters(params, f"{name}: params", mend)

    def series(new_params: Any, *args: Any, **kwargs: Any) -> Any:
        _check_same(name, new_params, params)
        new_params = checked_arrays(f"{name}: new_params", new_params)
        _, new_params, args, kwargs = on_one_device(start, new_params, args, kwargs)
        there, _ = floating_parameters(new_params, f"{name}: new_params", mend)
        step = [jnp.asarray(a, b.dtype) - b for a, b in zip(there, start, strict=True)]
        terms = _derivatives(lambda p: f(restore(p), *args, **kwargs), start, step, degree)
        scaled = (
            jax.tree.map(lambda a, k=k: a / math.factorial(k) if k > 1 else a, term)
            for k, term in enumerate(terms)
        )
        return jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *scaled)

    return series


def _derivatives(fn: Callable[[Any], Any], params: Any, step: Any, degree: int) -> list[Any]:
    """`fn` and its derivatives along `step`, up to a degree."""
    derivatives = [fn]
    for _ in range(degree):

        def along(p: Any, below: Callable[[Any], Any] = derivatives[-1]) -> Any:
            return jax.jvp(below, (p,), (step,))[1]

        derivatives.append(along)
    return [derivative(params) for derivative in derivatives]


def _check_same(name: str, new_params: Any, params: Any) -> None:
    """Both must be the parameters of one network."""
    for what, of in (
        ("the structure", jax.tree.structure),
        ("shapes", lambda tree: [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]),
    ):
        new, old = of(new_params), of(params)
        if new != old:
            raise ValueError(
                f"{name}: new_params has {what} {new}, but params has {old}: pass parameters of the"
                " same network"
            )
