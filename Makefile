# The only tools needed beforehand are make and Python 3.11 or newer. Everything else goes into .venv,
# in the versions of requirements.lock, and a second run installs nothing again.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
# Of how many steps the target that runs consists.
STEPS := 3
check format: STEPS := 5
bench-peer: STEPS := 4
# The library that the benchmark is compared with, which never meets the other packages. Its last
# version needs versions of its time, and these a Python before 3.13.
PEER := $(VENV)-peer
PEER_PYTHON ?= $(PYTHON)
PEER_PACKAGES := "jax==0.4.25" "jaxlib==0.4.25" "numpy<2" "scipy<1.13" "neural-tangents==0.6.5"

# bash, for `pipefail`: a failed pip must fail the step although its output goes through awk.
SHELL := bash
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Of pip's output, one line a package, so that a slow connection shows where it is.
PROGRESS := awk '/^(Collecting|Processing|Obtaining)/ { sub(".*/", "", $$2); sub("(-[0-9]|[<>=!~]).*", "", $$2); \
	printf "      %2d %s\n", ++n, $$2; fflush() } \
	/^Installing collected/ { printf "      unpacking them\n"; fflush() }'
# The lock holds the build tool too, so nothing is built with an unlocked one.
INSTALL = set -o pipefail; $(BIN)/python -m pip install --progress-bar off \
	--constraint requirements.lock --no-build-isolation
# Each of the test processes gets one thread: more only wait for each other.
ONE_THREAD := NPROC=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "ntkjax needs Python 3.11 or newer, and $(PYTHON) is" \
		"$$($(PYTHON) --version 2>&1 || true). Name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }

.PHONY: help demo test bench bench-peer check format floor newest lock clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## show this list
	@echo "usage: make TARGET [PYTHON=python3] [WORKERS=2]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/demo ## install what is needed, then compare kernels and networks on handwritten digits
	@echo "[3/3] running examples/digits.py"
	@$(BIN)/python examples/digits.py $(ARGS)

test: $(STAMPS)/test ## install what is needed, then run the tests and the examples of the documentation
	@echo "[3/3] running the tests in $(WORKERS) processes"
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

bench: $(STAMPS)/demo ## install what is needed, then measure times, memory and accuracy
	@echo "[3/3] running examples/benchmark/run.py"
	@$(BIN)/python examples/benchmark/run.py $(ARGS)

bench-peer: $(STAMPS)/demo $(PEER)/installed ## the same beside neural-tangents 0.6.5, which goes into an environment of its own
	@echo "[4/4] running examples/benchmark/run.py, both libraries in turn"
	@$(BIN)/python examples/benchmark/run.py --peer $(PEER)/bin/python $(ARGS)

check: $(STAMPS)/check ## install what is needed, then check style, format and types
	@echo "[3/5] ruff: style"
	@$(BIN)/ruff check .
	@echo "[4/5] ruff: format (make format mends it)"
	@$(BIN)/ruff format --check .
	@echo "[5/5] pyright: types"
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(STAMPS)/check ## lay out the code and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

floor: ## run the tests on the oldest dependencies that pyproject.toml allows
	@echo "[1/2] installing the oldest dependencies into $(VENV)-floor"
	@$(PYTHON) -m venv --clear $(VENV)-floor
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		| sed 's/>=/==/' > $(VENV)-floor/constraints.txt
	@cat $(VENV)-floor/constraints.txt
	@$(VENV)-floor/bin/python -m pip install --quiet --constraint $(VENV)-floor/constraints.txt -e '.[demo,test]'
	@echo "[2/2] running the tests in $(WORKERS) processes"
	@$(ONE_THREAD) $(VENV)-floor/bin/python -m pytest -n $(WORKERS) $(ARGS)

newest: ## run the tests on the newest versions of everything; PYTHON=python3.13 names a newer Python
	@$(CHECK_PYTHON)
	@echo "[1/2] installing the newest versions into $(VENV)-newest with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)-newest
	@$(VENV)-newest/bin/python -m pip install --quiet --upgrade setuptools -e '.[demo,test]'
	@$(VENV)-newest/bin/python -m pip freeze --all --exclude-editable | grep -iE '^(jax|jaxlib|numpy|optax|pytest|scipy)=='
	@echo "[2/2] running the tests in $(WORKERS) processes"
	@$(ONE_THREAD) $(VENV)-newest/bin/python -m pytest -n $(WORKERS) $(ARGS)

lock: ## choose the newest versions again and write requirements.lock
	@echo "[1/2] installing the newest versions into $(VENV)-lock"
	@$(PYTHON) -m venv --clear $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --upgrade setuptools -e '.[demo,test,flax,series,tinygp,check]'
	@echo "[2/2] writing requirements.lock"
	@{ echo "# Written by make lock. Install it with make demo, make test or make check."; \
		$(VENV)-lock/bin/python -m pip freeze --all --exclude pip --exclude ntkjax; } > requirements.lock

clean: ## remove what these commands installed
	rm -rf $(VENV) $(VENV)-floor $(VENV)-newest $(VENV)-lock $(PEER)

$(STAMPS)/venv:
	@$(CHECK_PYTHON)
	@echo "[1/$(STEPS)] making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/build: $(STAMPS)/venv requirements.lock
	@$(BIN)/python -m pip install --quiet --constraint requirements.lock setuptools
	@touch $@

$(STAMPS)/demo: $(STAMPS)/build pyproject.toml
	@echo "[2/$(STEPS)] installing ntkjax and what the demo needs (a minute or two the first time)"
	@$(INSTALL) --editable '.[demo]' | $(PROGRESS)
	@touch $@

# The examples are tested too, so what they import must be there.
$(STAMPS)/test: $(STAMPS)/build pyproject.toml
	@echo "[2/$(STEPS)] installing ntkjax and what the tests need (a minute or two the first time)"
	@$(INSTALL) --editable '.[demo,test]' | $(PROGRESS)
	@touch $@

# Checked too, types included.
$(STAMPS)/check: $(STAMPS)/build pyproject.toml
	@echo "[2/$(STEPS)] installing ntkjax, ruff and pyright (a minute or two the first time)"
	@$(INSTALL) --editable '.[demo,ode,check]' | $(PROGRESS)
	@touch $@

$(PEER)/installed:
	@$(PEER_PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
		echo "neural-tangents 0.6.5 needs Python 3.11 or 3.12, and $(PEER_PYTHON) is" \
			"$$($(PEER_PYTHON) --version 2>&1 || true). Name one: make bench-peer PEER_PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "[3/$(STEPS)] installing neural-tangents 0.6.5 into $(PEER) (a few minutes the first time)"
	@$(PEER_PYTHON) -m venv --clear $(PEER)
	@set -o pipefail; $(PEER)/bin/python -m pip install --progress-bar off $(PEER_PACKAGES) | $(PROGRESS)
	@touch $@
