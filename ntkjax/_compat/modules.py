"""The modules of neural_tangents, made of ntkjax: by path, the names in each.

The paths are those of 0.6.5 (`neural_tangents._src. ...`) and of releases before 0.4
(`neural_tangents.utils. ...`).
"""

import functools
import sys
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from typing import Any

from ntkjax._compat import axes, covariances, dataclass, diagonals, requirements, trees
from ntkjax._compat import types as old_types
from ntkjax._kernel.algebra.kernel import Kernel

ROOT = "neural_tangents"
VERSION = "0.6.5"

_EXPERIMENTAL = (
    "takes empirical NTKs of TensorFlow models, which ntkjax does not: write the model in JAX (or "
    "convert it yourself, with jax2tf's counterpart tf2jax) and pass it to empirical_ntk_fn"
)
_ENGINE = "is a part of that library's engine, which ntkjax does not have: see docs/migrating.md"

#: Names that are known and refused, with the reason, by module.
_REFUSED = {
    "experimental": {
        "empirical_ntk_fn_tf": _EXPERIMENTAL,
        "get_apply_fn_and_params": _EXPERIMENTAL,
    },
    "experimental.empirical_tf.empirical": {
        "empirical_ntk_fn_tf": _EXPERIMENTAL,
        "get_apply_fn_and_params": _EXPERIMENTAL,
    },
    "_src.utils.rules": dict.fromkeys(
        ("Structure", "get_structure", "get_structure_cache", "get_id_structure",
         "STRUCTURE_RULES", "JACOBIAN_RULES", "EQN_PARAMS_RULES"), _ENGINE),
    "_src.stax.linear": dict.fromkeys(
        ("_conv_kernel_full_spatial_transpose", "_conv_kernel_full_spatial_loop",
         "_conv_kernel_diagonal_spatial_transpose", "_pool_transpose", "_pool_mask",
         "_same_pad_for_filter_shape_transpose", "_pos_emb_identity", "_pos_emb_pdist",
         "_get_all_pos_emb", "_shape_and_axes", "_pooling_layer"), _ENGINE),
    "_src.batching": dict.fromkeys(("_scan", "_jit_or_pmap_broadcast"), _ENGINE),
    "_src.predict": dict.fromkeys(
        ("_get_dependency", "_get_fns_in_eigenbasis", "_add_diagonal_regularizer",
         "_get_cho_solve", "_make_expm1_fn", "_get_axes", "_get_attr"), _ENGINE),
    "_src.empirical": dict.fromkeys(
        ("_trace_and_diagonal", "_get_f_params", "_empirical_auto_ntk_fn",
         "_jacobian_contraction_ntk_fn", "_ntk_vector_products_ntk_fn",
         "_structured_derivatives_ntk_fn"), _ENGINE),
}  # fmt: skip

_REQUIREMENTS = ("Bool", "Diagonal", "MaskedArray", "layer", "requires", "supports_masking",
                 "unmask_fn")  # fmt: skip
_COMBINATORS = ("parallel", "repeat", "serial")
_ELEMENTWISE = (
    "ABRelu", "Abs", "Cos", "Elementwise", "ElementwiseNumerical", "Erf", "Exp", "ExpNormalized",
    "Gabor", "Gaussian", "Gelu", "Hermite", "LeakyRelu", "Monomial", "Polynomial", "Rbf",
    "RectifiedMonomial", "Relu", "Sigmoid_like", "Sign", "Sin",
)  # fmt: skip
_BRANCHING = ("FanInConcat", "FanInProd", "FanInSum", "FanOut")
_LINEAR = (
    "Aggregate", "AggregateImplementation", "AttentionMechanism", "AvgPool", "Conv", "ConvLocal",
    "ConvTranspose", "Dense", "DotGeneral", "Dropout", "Flatten", "GlobalAvgPool",
    "GlobalSelfAttention", "GlobalSumPool", "Identity", "ImageResize", "Index", "LayerNorm",
    "Padding", "PositionalEmbedding", "Slice", "SumPool",
)  # fmt: skip
_EMPIRICAL = ("NtkImplementation", "empirical_kernel_fn", "empirical_nngp_fn", "empirical_ntk_fn",
              "empirical_ntk_vp_fn", "linearize", "taylor_expand")  # fmt: skip


def old_modules(nt: Any, stax: Any, predict: Any) -> dict[str, types.ModuleType]:
    """All modules by full name, of ntkjax and its public modules."""

    def names_of(module: Any, names: Any = None) -> dict[str, Any]:
        return {name: getattr(module, name) for name in names or module.__all__}

    empirical = names_of(nt, _EMPIRICAL) | {
        "DEFAULT_NTK_IMPLEMENTATION": nt.NtkImplementation.JACOBIAN_CONTRACTION,
        "_DEFAULT_NTK_FWD": None,
        "_DEFAULT_NTK_J_RULES": True,
        "_DEFAULT_NTK_S_RULES": True,
        "_DEFAULT_TESTING_NTK_IMPLEMENTATION": nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    }
    utils = {
        name: value
        for module in (trees, axes)
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    }
    utils |= {"Axes": old_types.Axes, "PyTree": Any, "SliceType": Any}
    utils |= {"canonicalize_idx": axes.canonicalize_idx}  # the engine's own
    typing = {name: getattr(old_types, name) for name in old_types.NAMES}
    dataclasses = {"dataclass": dataclass.dataclass, "field": dataclass.field}
    decorators = names_of(stax, _REQUIREMENTS) | requirements.NAMES | {
        "get_diagonal": diagonals.get_diagonal,
        "get_diagonal_outer_prods": diagonals.get_diagonal_outer_prods,
        "mean_and_var": diagonals.mean_and_var,
    }  # fmt: skip
    elementwise = names_of(stax, _ELEMENTWISE) | {
        "_arctan2": covariances.safe_arctan2,
        "_double_factorial": covariances.double_factorial,
        "_elementwise": functools.partial(requirements.elementwise, stax),
        "_factorial": covariances.factorial,
        "_sqrt": covariances.safe_sqrt,
        "_vmap_2d": covariances.over_pairs,
    }
    linear = names_of(stax, _LINEAR) | covariances.NAMES | {"_vmap_2d": covariances.over_pairs}
    branching, combinators = names_of(stax, _BRANCHING), names_of(stax, _COMBINATORS)

    def serially(kernel_fn: Any, batch_size: int, store_on_device: bool = True) -> Any:
        """Batches one after the other."""
        return nt.batch(kernel_fn, batch_size, 0, store_on_device)

    def in_parallel(
        kernel_fn: Any, use_serial: bool = True, dropout_in_analytic_kernel: bool = False,
        device_count: int = -1,
    ) -> Any:  # fmt: skip
        """Batches on several devices."""
        return nt.batch(kernel_fn, 0, device_count)

    batching = {"batch": nt.batch, "_serial": serially, "_parallel": in_parallel}
    monte_carlo = {"monte_carlo_kernel_fn": nt.monte_carlo_kernel_fn}
    contents: dict[str, Mapping[str, Any]] = {
        "": names_of(nt) | {"__version__": VERSION},
        "stax": names_of(stax),
        "predict": names_of(predict),
        "experimental": {},
        "experimental.empirical_tf": {},
        "experimental.empirical_tf.empirical": {},
        "_src": {},
        "_src.batching": batching,
        "_src.empirical": empirical,
        "_src.monte_carlo": monte_carlo,
        "_src.predict": names_of(predict) | {"_is_on_cpu": trees.is_on_cpu},
        "_src.stax": {},
        "_src.stax.branching": branching,
        "_src.stax.combinators": combinators,
        "_src.stax.elementwise": elementwise,
        "_src.stax.linear": linear,
        "_src.stax.requirements": decorators,
        "_src.utils": {},
        "_src.utils.dataclasses": dataclasses,
        "_src.utils.kernel": {"Kernel": Kernel},
        "_src.utils.rules": {},
        "_src.utils.typing": typing,
        "_src.utils.utils": utils,
        "utils": {},
        "utils.batch": batching,
        "utils.dataclasses": dataclasses,
        "utils.empirical": empirical,
        "utils.kernel": {"Kernel": Kernel},
        "utils.monte_carlo": monte_carlo,
        "utils.predict": names_of(predict),
        "utils.typing": typing,
        "utils.utils": utils,
    }
    made = {path: _module(path, names) for path, names in contents.items()}
    for path, module in made.items():
        above, _, name = path.rpartition(".")
        if path:
            setattr(made[above], name, module)
    return {module.__name__: module for module in made.values()}


def _module(path: str, names: Mapping[str, Any]) -> types.ModuleType:
    """A module of these names, which says why others are missing."""
    full = f"{ROOT}.{path}" if path else ROOT
    module: Any = types.ModuleType(full, f"ntkjax in the place of {full}.")
    module.__dict__.update(names)
    module.__path__ = []  # nothing more is to be found below it
    module.__spec__ = ModuleSpec(full, None, is_package=True)
    refused = _REFUSED.get(path, {})

    def missing(name: str) -> Any:
        if name in refused:
            raise NotImplementedError(f"{full}.{name} {refused[name]}.")
        raise AttributeError(
            f"module {full!r} (which is ntkjax: see ntkjax.compat) has no attribute {name!r}"
        )

    module.__getattr__ = missing
    return module


def is_ours(module: Any) -> bool:
    """Whether a module is one of these."""
    return "ntkjax" in (getattr(module, "__doc__", None) or "")


def loaded() -> dict[str, Any]:
    """The modules of that name that have been imported."""
    return {
        name: module
        for name, module in sys.modules.items()
        if name == ROOT or name.startswith(f"{ROOT}.")
    }
