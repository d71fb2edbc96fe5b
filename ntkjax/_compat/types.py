"""Names of types, as neural_tangents annotates its functions: what one may write, not a check."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from ntkjax._kernel.algebra.kernel import Kernel

T = TypeVar("T")

PyTree = Any
Axes = int | Sequence[int]
NTTree = list[T] | tuple[T, ...] | T
NTTrees = list[T] | tuple[T, ...]
Shapes = Any
Get = None | str | tuple[str, ...]

InitFn = Callable[..., tuple[Any, Any]]
ApplyFn = Callable[..., Any]
MaskFn = Callable[..., Any]
LayerKernelFn = Callable[..., Any]
AnalyticKernelFn = Callable[..., Any]
EmpiricalGetKernelFn = Callable[..., Any]
EmpiricalKernelFn = Callable[..., Any]
MonteCarloKernelFn = Callable[..., Any | Generator[Any, None, None]]
KernelFn = Callable[..., Any]
KernelOrInput = Any

InternalLayer = tuple[InitFn, ApplyFn, LayerKernelFn]
InternalLayerMasked = tuple[InitFn, ApplyFn, LayerKernelFn, MaskFn]
Layer = tuple[InitFn, ApplyFn, AnalyticKernelFn]
Kernels = list[Kernel] | tuple[Kernel, ...]

VMapAxisTriple = tuple[Any, Any, dict[str, Any]]
VMapAxes = Any
SliceType = Any

NAMES = (
    "AnalyticKernelFn", "ApplyFn", "Axes", "EmpiricalGetKernelFn", "EmpiricalKernelFn", "Get",
    "InitFn", "InternalLayer", "InternalLayerMasked", "Kernel", "KernelFn", "KernelOrInput",
    "Kernels", "Layer", "LayerKernelFn", "MaskFn", "MonteCarloKernelFn", "NTTree", "NTTrees",
    "PyTree", "Shapes", "VMapAxes", "VMapAxisTriple",
)  # fmt: skip
