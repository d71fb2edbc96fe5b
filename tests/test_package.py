"""Laws of the package as a whole: what is documented, who imports whom, what is installed."""

import ast
import enum
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ntkjax"
FILES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Which floors a floor may import from. Inference, finite networks and scale get kernels only from
# the `kernel_fn` that they are handed, so neither layers nor activations are among theirs.
BELOW = {
    "_sklearn": {"_kernel", "_layers", "_solve"},
    "_compat": {"_kernel", "_layers"},
    "_kernel": set(),
    "_activations": {"_kernel"},
    "_layers": {"_kernel", "_activations"},
    "_solve": {"_kernel"},
    "_inference": {"_kernel", "_solve"},
    "_gp": {"_kernel", "_solve", "_inference", "_scale"},
    "_spectrum": {"_kernel", "_solve", "_inference"},
    "_finite": {"_kernel", "_inference", "_scale"},
    "_scale": {"_kernel", "_inference"},
}
# Where a module's name is not that of what one installs.
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
PUBLIC_MODULES = [
    "ntkjax",
    "ntkjax.architectures",
    "ntkjax.compat",
    "ntkjax.gp",
    "ntkjax.predict",
    "ntkjax.sklearn",
    "ntkjax.spectrum",
    "ntkjax.stax",
]


def public_objects():
    """Every public name once, under the shortest path to it."""
    seen = set()
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and id(value) not in seen:
                seen.add(id(value))
                yield pytest.param(value, id=f"{module_name}.{name}")


def imported_modules(file):
    """Full names of the modules that a file imports, also inside functions."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            # `from ntkjax import _layers` imports a module by its name.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def floor_of(module):
    """`_layers` for `ntkjax._layers.dense`; "" for what is not in the package or is all of it."""
    parts = module.split(".")
    return parts[1] if parts[0] == "ntkjax" and len(parts) > 1 else ""


def is_leaf(floor):
    """Whether it is a single file that imports nothing of the package: any floor may use it."""
    file = PACKAGE / f"{floor}.py"
    return file.exists() and not any(name.startswith("ntkjax") for name in imported_modules(file))


def takes_arguments(value):
    """Whether a user passes arguments; the members of an Enum are there already."""
    is_enum = isinstance(value, type) and issubclass(value, enum.Enum)
    return not is_enum and bool(inspect.signature(value).parameters)


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("value", list(public_objects()))
def test_public_name_is_documented(value):
    doc = inspect.getdoc(value) or ""
    assert re.match(r"\S.*[.:?]$", doc.partition("\n")[0]), (
        "needs a summary line that ends in a period"
    )
    if takes_arguments(value):
        assert "Args:" in doc
    assert ">>>" in doc, "needs an example, which the tests run"


@pytest.mark.parametrize("module_name", PUBLIC_MODULES)
def test_public_module_says_what_it_is(module_name):
    module = importlib.import_module(module_name)
    assert module.__doc__
    own = {n for n, v in vars(module).items() if not n.startswith("_") and is_own(v)}
    # Imported by itself, a public module becomes an attribute of the package.
    imported = {name.removeprefix("ntkjax.") for name in PUBLIC_MODULES}
    assert own <= {*module.__all__, *imported}, "a public name is missing from __all__"


def is_own(value):
    name = (
        value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", "")
    )
    return str(name).startswith("ntkjax")


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_file_is_short_and_says_what_it_is(file):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)), "a file's first lines say what it is"


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_imports_only_from_floors_below(file):
    floor = file.relative_to(PACKAGE).parts[0]
    if floor not in BELOW:
        assert not floor.startswith("_") or file.parent == PACKAGE, f"{floor} is no known floor"
        return
    allowed = {floor, *BELOW[floor]}
    imported = {floor_of(name) for name in imported_modules(file)} - {""}
    assert not {f for f in imported if f not in allowed and not is_leaf(f)}
    assert "ntkjax" not in set(imported_modules(file)), (
        "import from a floor, not the public package"
    )


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_private_jax_is_in_one_place(file):
    if file.name != "_jax_compat.py":
        assert not [name for name in imported_modules(file) if name.startswith("jax._")]


def test_third_party_imports_are_declared():
    # What is used where it is installed stands in an extra that installs it.
    extras = PROJECT["optional-dependencies"]
    optional = [
        line for extra in ("progress", "ode", "sklearn", "tinygp") for line in extras[extra]
    ]
    declared = {Requirement(line).name for line in (*PROJECT["dependencies"], *optional)}
    imported = {name.split(".")[0] for file in FILES for name in imported_modules(file)}
    imported -= {*sys.stdlib_module_names, "ntkjax", ""}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= declared


def test_what_the_examples_import_is_declared():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["demo"], *extras["flax"]]
    declared = {Requirement(line).name for line in lines}
    files = sorted((ROOT / "examples").glob("*.py"))
    local = {file.stem for file in files} | {"ntkjax"}
    imported = {name.split(".")[0] for file in files for name in imported_modules(file)}
    imported -= set(sys.stdlib_module_names) | local
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= declared


def test_lock_holds_every_requirement():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    # No addresses: versions alone, whatever the index they come from.
    assert all(pin.url is None and re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    versions = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in pins}
    extras = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        assert versions[requirement.name.lower()] in requirement.specifier


def test_import_is_silent(tmp_path):
    command = [sys.executable, "-W", "error", "-c", "import ntkjax"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Outside the checkout, as a user would.
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_wheel_holds_the_package(tmp_path):
    """Built from a copy, so that nothing but what the project names can come in."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path / "copy"
    for file in [*FILES, *(ROOT / name for name in WHEEL_SOURCES)]:
        (copy / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (copy / file.relative_to(ROOT)).write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {relative(file) for file in FILES} | {"ntkjax/py.typed"} <= names
    assert not [name for name in names if not name.startswith("ntkjax")]


WHEEL_SOURCES = ["pyproject.toml", "README.md", "LICENSE", "ntkjax/py.typed"]
