"""Names that JAX has removed since scripts for neural_tangents were written, and their successors.

A script that stops at one of them is told which name takes its place, as a note on the error.
"""

import re
import types

import jax

_TREES = {
    f"jax.tree_{name}": f"jax.tree.{name}"
    for name in (
        "all", "flatten", "leaves", "map", "reduce", "structure", "transpose", "unflatten",
    )
}  # fmt: skip
_EXTEND = "jax.extend.core (jax.extend.core.primitives for primitives)"

#: What stands for a removed name; a name also stands for all below it.
SUCCESSORS = {
    **_TREES,
    "jax.tree_multimap": "jax.tree.map",
    "jax.tree_util.tree_multimap": "jax.tree.map",
    "jax.config.config": "jax.config, as in jax.config.update('jax_enable_x64', True)",
    "jax.config.parse_flags_with_absl": "jax.config.config_with_absl, or leave the line out",
    "jax.api": "jax itself: jax.jit, jax.grad, jax.vmap",
    "jax.partial": "functools.partial",
    "jax.host_count": "jax.process_count",
    "jax.host_id": "jax.process_index",
    "jax.host_ids": "range(jax.process_count())",
    "jax.linear_util": "jax.extend.linear_util",
    "jax.abstract_arrays": "jax.ShapeDtypeStruct",
    "jax.ShapedArray": "jax.ShapeDtypeStruct",
    "jax.xla_computation": "jax.jit(f).lower(...)",
    "jax.util": "the standard library: functools.partial, math.prod, zip(..., strict=True)",
    "jax.random.KeyArray": "jax.Array",
    "jax.random.PRNGKeyArray": "jax.Array",
    "jax.core.ShapedArray": "jax.ShapeDtypeStruct, or jax.typeof(x)",
    "jax.core.ConcreteArray": "jax.Array",
    "jax.core": _EXTEND,
    "jax.experimental.stax": "jax.example_libraries.stax",
    "jax.experimental.optimizers": "jax.example_libraries.optimizers, or optax",
    "jax.experimental.host_callback": "jax.pure_callback, jax.experimental.io_callback",
    "jax.experimental.maps": "jax.shard_map, jax.vmap with axis names",
    "jax.experimental.loops": "jax.lax.fori_loop, jax.lax.while_loop",
    "jax.experimental.global_device_array": "jax.Array",
    "jax.interpreters.xla.DeviceArray": "jax.Array",
    "jax.interpreters.xla": "jax.extend.core, jax.Array",
    "jax.interpreters.partial_eval": "jax.extend.core, jax.make_jaxpr",
    "jax.interpreters.ad": "jax.extend.core, jax.custom_jvp",
    "jax.lib.xla_bridge": "jax.devices(), jax.default_backend() or jax.extend.backend",
    "jax.lib.xla_client": "jax.extend",
    "jax.lib": "jax.extend.backend",
    "jax.numpy.DeviceArray": "jax.Array",
    "jax.numpy.index_exp": "an index, as in x.at[1, :]",
    "jax.numpy.in1d": "jax.numpy.isin",
    "jax.numpy.row_stack": "jax.numpy.vstack",
    "jax.numpy.trapz": "jax.numpy.trapezoid",
    "jax.numpy.round_": "jax.numpy.round",
    "jax.numpy.product": "jax.numpy.prod",
    "jax.numpy.cumproduct": "jax.numpy.cumprod",
    "jax.numpy.alltrue": "jax.numpy.all",
    "jax.numpy.sometrue": "jax.numpy.any",
    "jax.numpy.msort": "jax.numpy.sort",
    "jax.nn.normalize": "jax.nn.standardize",
    "jax.ops.index": "an index, as in x.at[1, :]",
    "jax.ops.index_update": "x.at[index].set(y)",
    "jax.ops.index_add": "x.at[index].add(y)",
    "jax.ops.index_mul": "x.at[index].multiply(y)",
    "jax.ops.index_min": "x.at[index].min(y)",
    "jax.ops.index_max": "x.at[index].max(y)",
    "jax.lax.tie_in": "its second argument",
    "jax.lax.linspace": "jax.numpy.linspace",
    "jax.soft_pmap": "jax.pmap, jax.vmap",
    "jax.device_put_replicated": "jax.device_put with a jax.sharding.NamedSharding",
    "jax.device_put_sharded": "jax.device_put with a jax.sharding.NamedSharding",
}


def removed_name(error: BaseException) -> str | None:
    """The name of JAX that an error says is missing, in full; None where it says no such thing."""
    if isinstance(error, ModuleNotFoundError):
        name = error.name
    elif isinstance(error, ImportError):
        found = re.match(r"cannot import name '(\w+)'", str(error))
        name = f"{error.name}.{found[1]}" if found else None
    elif isinstance(error, AttributeError) and error.name:
        owner = error.obj
        path = owner.__name__ if isinstance(owner, types.ModuleType) else None
        path = "jax.config" if owner is jax.config else path
        name = f"{path}.{error.name}" if path else None
    else:
        return None
    is_of_jax = name is not None and (name == "jax" or name.startswith("jax."))
    return name if is_of_jax else None


def successor(name: str) -> str | None:
    """What takes the place of a removed name of JAX, or of what it was a part of."""
    if name == "jax.config":  # as a module, whose one name was `config`
        name = "jax.config.config"
    while name and name not in SUCCESSORS:
        name = name.rpartition(".")[0]
    return SUCCESSORS.get(name)


def explain(error: BaseException) -> None:
    """Add to an error at a name that JAX has removed what takes its place."""
    name = removed_name(error)
    instead = name and successor(name)
    if instead:
        what = f"module {name}" if isinstance(error, ModuleNotFoundError) else name
        error.add_note(
            f"ntkjax.compat: JAX {jax.__version__} has no {what}; its successor is {instead}. "
            "neural_tangents 0.6.5 was written for JAX 0.4: change this line of the script."
        )
