"""The nonlinearities of the gallery: each with its function, by mpmath, and its dual in words."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import mpmath
from mpmath import mpf

from ntkjax import stax

INTEGRAL = "an integral"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One nonlinearity.

    Attributes:
      name: of the layer.
      layer: makes it.
      title: how it is called.
      function: f(x) in LaTeX.
      dual: E f(u) f(v) in LaTeX.
      value: f of a number of mpmath.
      slope: f'.
      kinks: where f is not smooth.
      least, most: variances between which it is compared.
      formula: E f f and E f' f' of v1, v2 and the correlation, where no f has them.
    """

    name: str
    layer: Callable[[], Any]
    title: str
    function: str
    dual: str
    value: Callable[[Any], Any] = mpf
    slope: Callable[[Any], Any] = mpf
    kinks: tuple[float, ...] = ()
    least: float = 2.0**-14
    most: float = 2.0**14
    formula: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None


def entry(call: str, function: str, dual: str, value: Any, slope: Any, *kinks: float, **more: Any):
    """Of a layer that is written as it is called, in its arguments' values."""
    name = call.split("(")[0]
    made = {"stax": stax, "jax": jax}
    return Entry(
        name, lambda: eval(f"stax.{call}", made), call, f"${function}$",
        f"${dual}$" if "\\" in dual or "^" in dual else dual, value, slope, kinks, **more,
    )  # fmt: skip


def logistic(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x)) if x > 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


def softplus(x: Any) -> Any:
    return max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


def sech2(x: Any) -> Any:
    return 4 * logistic(2 * x) * logistic(-2 * x)


def mish_slope(x: Any) -> Any:
    s = softplus(x)
    return mpmath.tanh(s) + x * sech2(s) * logistic(x)


def lines(below: float, above: float) -> tuple[Any, Any]:
    """A function of two lines through zero, and its slope."""
    return (lambda x: x * (above if x > 0 else below)), (lambda x: mpf(above if x > 0 else below))


def elu(alpha: Any, size: Any) -> tuple[Any, Any]:
    return (
        lambda x: size * (x if x > 0 else alpha * mpmath.expm1(x)),
        lambda x: size * (mpf(1) if x > 0 else alpha * mpmath.exp(x)),
    )


def exp_normalized(v1: Any, v2: Any, cosine: Any) -> tuple[Any, Any]:
    """Of gamma = 1 and shift = -1."""
    kernel = mpmath.exp(cosine - 1)
    return mpmath.sqrt(v1 * v2) * kernel, kernel


SELU = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")
ARC = r"\sin\theta + (\pi - \theta) \cos\theta"
ERF = r"\tfrac{2}{\pi} \arcsin \tfrac{2 K}{\sqrt{(1 + 2 v_1)(1 + 2 v_2)}}"

GALLERY = (
    entry("Relu()", r"\max(x, 0)", rf"\tfrac{{p}}{{2 \pi}} ({ARC})", *lines(0, 1), 0.0),
    entry(
        "LeakyRelu(0.25)", r"\max(x, 0) + \alpha \min(x, 0)",
        rf"\alpha K + \tfrac{{(1 - \alpha)^2 p}}{{2 \pi}} ({ARC})", *lines(0.25, 1), 0.0,
    ),
    entry("Abs()", r"\lvert x \rvert", rf"\tfrac{{2 p}}{{\pi}} ({ARC}) - K", *lines(-1, 1), 0.0),
    entry(
        "ABRelu(-0.5, 1.5)", r"a \min(x, 0) + b \max(x, 0)",
        rf"a b K + \tfrac{{(b - a)^2 p}}{{2 \pi}} ({ARC})", *lines(-0.5, 1.5), 0.0,
    ),
    entry(
        "Sign()", r"\mathrm{sign}(x)", r"1 - \tfrac{2 \theta}{\pi}",
        lambda x: mpmath.sign(x), lambda x: mpf(0), 0.0,
    ),
    entry(
        "RectifiedMonomial(2)", r"\max(x, 0)^n", r"\tfrac{p^n}{2 \pi} J_n(\theta)",
        lambda x: x * x if x > 0 else mpf(0), lambda x: 2 * x if x > 0 else mpf(0), 0.0,
    ),
    entry(
        "Monomial(3)", "x^n",
        r"\sum_k \tfrac{n!^2}{k!\, (\frac{n - k}{2})!^2\, 2^{n - k}} K^k p^{n - k}",
        lambda x: x**3, lambda x: 3 * x * x,
    ),
    entry(
        "Polynomial((0.5, 1.0, 0.25))", r"\sum_n c_n x^n",
        r"\sum_k \tfrac{1}{k!} K^k\, E f^{(k)}(u)\, E f^{(k)}(v)",
        lambda x: mpf(0.5) + x + x * x / 4, lambda x: 1 + x / 2,
    ),
    entry(
        "Hermite(3)", "h_n(x)", "K^n",
        lambda x: (x**3 - 3 * x) / mpmath.sqrt(6), lambda x: (3 * x * x - 3) / mpmath.sqrt(6),
        least=1.0, most=1.0,
    ),
    entry(
        "Erf()", r"\mathrm{erf}(x)", ERF,
        mpmath.erf, lambda x: 2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi),
    ),
    entry(
        "Sigmoid_like()", r"\tfrac12 + \tfrac12\, \mathrm{erf}(x / a)",
        r"\tfrac14 + \tfrac{1}{2 \pi} \arcsin \tfrac{2 K}{\sqrt{(a^2 + 2 v_1)(a^2 + 2 v_2)}}",
        lambda x: (1 + mpmath.erf(x / mpf(2.4020563531719796))) / 2,
        lambda x: mpmath.exp(-((x / mpf(2.4020563531719796)) ** 2))
        / mpf(2.4020563531719796) / mpmath.sqrt(mpmath.pi),
    ),
    entry(
        "Gelu()", r"x\, \Phi(x)",
        r"\tfrac{K}{4} + \tfrac{K}{2 \pi} \arcsin \tfrac{K}{q} + "
        r"\tfrac{K^2 + p^2 (q^2 - K^2)}{2 \pi q^2 \sqrt{q^2 - K^2}}",
        lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
    ),
    entry(
        "Sin()", r"\sin x", r"\tfrac12 (e^{-D / 2} - e^{-S / 2})", mpmath.sin, mpmath.cos, most=4.0
    ),
    entry(
        "Cos()", r"\cos x", r"\tfrac12 (e^{-D / 2} + e^{-S / 2})",
        mpmath.cos, lambda x: -mpmath.sin(x), most=4.0,
    ),
    entry(
        "Rbf()", r"\sqrt2 \sin(\sqrt{2 \gamma} x + \tfrac{\pi}{4})", r"e^{-\gamma D}",
        lambda x: mpmath.sqrt(2) * mpmath.sin(mpmath.sqrt(2) * x + mpmath.pi / 4),
        lambda x: 2 * mpmath.cos(mpmath.sqrt(2) * x + mpmath.pi / 4), most=4.0,
    ),
    entry(
        "Gabor()", r"e^{-x^2} \sin x",
        r"\lvert I + 2 \Sigma \rvert^{-\frac12} e^{-\frac12 (W_{11} + W_{22})} \sinh W_{12}",
        lambda x: mpmath.exp(-x * x) * mpmath.sin(x),
        lambda x: mpmath.exp(-x * x) * (mpmath.cos(x) - 2 * x * mpmath.sin(x)),
    ),
    entry(
        "Gaussian()", r"a e^{b x^2}", r"a^2 \lvert I - 2 b \Sigma \rvert^{-\frac12}",
        lambda x: mpmath.exp(-x * x), lambda x: -2 * x * mpmath.exp(-x * x),
    ),
    entry(
        "Exp(1, 0.5)", r"a e^{b x}", r"a^2 e^{\frac{b^2}{2} (v_1 + v_2 + 2 K)}",
        lambda x: mpmath.exp(x / 2), lambda x: mpmath.exp(x / 2) / 2, most=4.0,
    ),
    Entry(
        "ExpNormalized", stax.ExpNormalized, "ExpNormalized()", "none",
        r"$p\, e^{\gamma (\cos\theta + \mathrm{shift})}$", formula=exp_normalized,
    ),
    entry("Tanh()", r"\tanh x", INTEGRAL, mpmath.tanh, sech2),
    entry(
        "Sigmoid()", r"1 / (1 + e^{-x})", INTEGRAL,
        logistic, lambda x: logistic(x) * logistic(-x),
    ),
    entry(
        "Silu()", r"x / (1 + e^{-x})", INTEGRAL, lambda x: x * logistic(x),
        lambda x: logistic(x) * (1 + x * logistic(-x)),
    ),
    entry("Softplus()", r"\log(1 + e^x)", INTEGRAL, softplus, logistic),
    entry(
        "Mish()", r"x \tanh(\log(1 + e^x))", INTEGRAL,
        lambda x: x * mpmath.tanh(softplus(x)), mish_slope,
    ),
    entry(
        "Elu()", r"\max(x, 0) + \alpha \min(e^x - 1, 0)", INTEGRAL, *elu(mpf(1), mpf(1)), 0.0
    ),
    entry(
        "Selu()", r"\lambda (\max(x, 0) + \alpha \min(e^x - 1, 0))", INTEGRAL,
        *elu(SELU[1], SELU[0]), 0.0,
    ),
    entry(
        "HardTanh()", r"\min(\max(x, -1), 1)", INTEGRAL,
        lambda x: max(min(x, mpf(1)), mpf(-1)), lambda x: mpf(abs(x) < 1), -1.0, 1.0,
    ),
    entry(
        "Elementwise(jax.nn.relu)", r"\max(x, 0)", "any; here by quadrature",
        *lines(0, 1), 0.0,
    ),
    entry(
        "ElementwiseNumerical(jax.lax.erf, 40)", r"\mathrm{erf}(x)", "a rule of 40 nodes",
        mpmath.erf, lambda x: 2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi), most=1.0,
    ),
)  # fmt: skip
