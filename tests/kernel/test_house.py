"""The house: each folder imports only from those below it, and no file is long."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ntkjax"
#: From the top down; a module belongs to the longest prefix of its name that is listed.
FLOORS = (
    "ntkjax",
    "ntkjax._sklearn",
    "ntkjax._compat",
    "ntkjax._layers",
    "ntkjax._gp",
    "ntkjax._spectrum",
    "ntkjax._finite",
    "ntkjax._scale",
    "ntkjax._inference",
    "ntkjax._solve",
    "ntkjax._activations",
    "ntkjax._kernel",
    "ntkjax._kernel.engine",
    "ntkjax._kernel.plan",
    "ntkjax._kernel.operations",
    "ntkjax._kernel.algebra",
    "ntkjax._jax_compat",
)
#: Floors that meet the layers only through the `kernel_fn` that users hand them.
ASIDE = (
    "ntkjax._gp",
    "ntkjax._spectrum",
    "ntkjax._finite",
    "ntkjax._inference",
    "ntkjax._scale",
    "ntkjax._solve",
)
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> str:
    prefixes = [name for name in FLOORS if module == name or module.startswith(f"{name}.")]
    return max(prefixes, key=len)


def imported(file: Path) -> set[str]:
    """Modules of the package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] == "ntkjax"}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_floor_imports_only_from_below(file):
    own = FLOORS.index(floor_of(module_of(file)))
    floors = {name: FLOORS.index(floor_of(name)) for name in imported(file)}
    above = {name for name, floor in floors.items() if floor < own}
    assert not above, f"{module_of(file)} imports {above} from above"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_finite_networks_and_inference_know_no_layer(file):
    if floor_of(module_of(file)) in ASIDE:
        assert "ntkjax._layers" not in {floor_of(name) for name in imported(file)}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_no_file_is_long(file):
    assert len(file.read_text().splitlines()) <= 400
