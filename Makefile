# make lab      set up .venv and open JupyterLab on the first notebook
# make test     set up .venv and run everything continuous integration runs
# make env      the set-up alone        make check       lint, format, types, quick tests
# make notebooks  re-run at lesson size and write the outputs back
# make site     static HTML of the course in site/
# make lock     write constraints.txt from .venv        make clean  remove .venv

PYTHON  ?= python3
VENV    ?= .venv
PIPARGS ?=
TESTARGS ?=
LABARGS ?=
BIN     := $(VENV)/bin
TORCH   := $(shell grep '^torch==' constraints.txt)
ROOT    := $(if $(filter 0,$(shell id -u)),--allow-root)
# one thread a process: the toys are slower with more, and two processes run side by side
QUIET   := OMP_NUM_THREADS=1 TQDM_DISABLE=1 LVMLAB_OFFLINE=1
# compiled tests are kept: compiling them anew is six of the fourteen seconds that collecting takes
QUICK   := LVMLAB_PRESET=smoke PYTHONDONTWRITEBYTECODE=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
.DELETE_ON_ERROR:
.PHONY: lab test env check notebooks site lock clean

lab: env
	$(BIN)/lvmlab lab $(LABARGS)

test: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python notebooks/build.py check
	$(QUIET) LVMLAB_PRESET=smoke $(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout=300 \
	  tests notebooks $(TESTARGS)

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python notebooks/build.py check
	$(QUIET) $(QUICK) $(BIN)/python -m pytest -n 2 -q -m "not slow" -p no:nbmake -p no:anyio \
	  tests $(TESTARGS)

notebooks: env
	$(QUIET) LVMLAB_PRESET=lesson $(BIN)/python notebooks/build.py run $(NAMES)

site: env
	$(BIN)/python notebooks/build.py site site

env: $(VENV)/.ok

# torch first and by name: a resolver that is free to choose takes a build with CUDA
$(VENV)/.ok: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIPARGS) "$(TORCH)"
	$(BIN)/python -m pip install -q $(PIPARGS) -c constraints.txt -e '.[lab,test,text]'
	$(BIN)/python -c "import torch, lvmlab; print('ready: torch', torch.__version__)"
	touch $@

lock: env
	(sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable --exclude lvmlab \
	  | sed -E 's/\+cpu$$//; / @ /d') > constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf $(VENV)
