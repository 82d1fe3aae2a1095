# One target per intent. `make serve` and `make test` are all a fresh machine needs: Python 3.11, pip, make, git.

PYTHON ?= python3
PORT ?= 3000
HOST ?= 127.0.0.1
IMAGE ?= sightline:latest
VENV := .venv
BIN := $(VENV)/bin
PEERS_VENV := .venv-peers
PACKAGES := classifier training service
CODE := $(PACKAGES) tests load_tests requirements docs deploy
INSTALL := $(BIN)/python -m pip install --quiet --require-hashes
PROJECT := $(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .  # `sightline`
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')  # many tests wait for a server
PYTEST := $(BIN)/python -m pytest -q -n $(strip $(WORKERS)) --dist loadfile --no-loadscope-reorder  # tests/conftest.py orders the files

export BENTOML_DO_NOT_TRACK := True

.PHONY: help serve test lint check fix e2e load peers limit soak train-env release bento image docs site lock clean

help:  ## say what the targets do
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/.serve  ## serve the models in models/ at http://$(HOST):$(PORT)
	$(BIN)/sightline serve --host $(HOST) --port $(PORT)

test: $(VENV)/.dev  ## run every test
	$(PYTEST)

lint: $(VENV)/.dev  ## format, lint and types; changes nothing
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy

check: lint  ## format, lint, types and the quick tests; changes nothing
	$(PYTEST) -m "not slow and not e2e"

fix: $(VENV)/.dev  ## format and mend what can be mended
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

e2e: $(VENV)/.dev  ## the tests that start real servers
	$(BIN)/python -m pytest -m e2e

load: $(VENV)/.dev  ## a short load test of a server that it starts
	$(BIN)/python -m load_tests.run $(OPTIONS)

peers: $(VENV)/.dev $(PEERS_VENV)/.installed  ## compare with other servers (25 minutes, needs wrk; OPTIONS="--resume …")
	$(BIN)/python -m load_tests.peers --out load_tests/results/peers.json $(OPTIONS)

limit: $(VENV)/.dev  ## measure decoding and the networks without HTTP, and what bfloat16 gains (5 minutes)
	$(BIN)/python -m load_tests.limit --out load_tests/results/limit.json $(OPTIONS)

soak: $(VENV)/.dev  ## measure start, memory, latency at half of capacity, the client (20 minutes, needs wrk)
	$(BIN)/python -m load_tests.soak --out load_tests/results/soak.json $(OPTIONS)

train-env: $(VENV)/.train  ## install what training needs (TensorFlow and more)

release: $(VENV)/.train $(VENV)/.bento  ## release MODEL=NAME[@VERSION], compared on DATA=PATH (OPTIONS="--no-bento …")
	@test -n "$(MODEL)" -a -n "$(DATA)" || { echo 'say which: make release MODEL=my-photos DATA=my_photos/'; exit 2; }
	$(BIN)/sightline release $(MODEL) --data $(DATA) $(OPTIONS)

bento: $(VENV)/.bento  ## build the Bento: service, classifier and models
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/bentoml build \
		--label version=$$($(BIN)/python -c "from service.client.version import VERSION; print(VERSION)") \
		--label models="$$(cd models && echo */[0-9]*)" \
		--label commit=$$(git rev-parse HEAD 2>/dev/null || echo unknown)  # it wants uv on the path, and would install it unlocked

image: bento  ## build the hardened container image from it (needs Docker; OPTIONS="--network host")
	deploy/build.sh sightline:latest $(IMAGE) $(OPTIONS)

docs: $(VENV)/.dev  ## write the tables of README.md anew from code and cards
	$(BIN)/python -m docs.tables

site: $(VENV)/site/.installed  ## build the documents as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/site/bin/mkdocs build --quiet

lock: $(VENV)/.dev  ## resolve requirements/*.txt anew from pyproject.toml
	$(BIN)/python requirements/lock.py

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) $(PEERS_VENV) .mypy_cache .ruff_cache .pytest_cache

# serve.txt is a subset of train.txt, and that of dev.txt, with the same versions: all share one environment, and a
# larger set already installed stands in for a smaller one.
$(VENV)/.serve: requirements/serve.txt pyproject.toml | $(VENV)/bin/python
	test $(VENV)/.dev -nt $< -o $(VENV)/.train -nt $< || $(INSTALL) -r $<
	$(PROJECT)
	@touch $@

$(VENV)/.bento: requirements/bento.txt $(VENV)/.serve
	test -x $(BIN)/uv || $(INSTALL) -r $<
	@touch $@

$(VENV)/.train: requirements/train.txt pyproject.toml | $(VENV)/bin/python
	test $(VENV)/.dev -nt $< || $(INSTALL) -r $<
	$(PROJECT)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -r $<
	$(PROJECT)
	@touch $@

$(PEERS_VENV)/.installed: requirements/peers.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

$(VENV)/site/.installed: requirements/site.txt | $(VENV)/bin/python
	test -x $(VENV)/site/bin/mkdocs || $(PYTHON) -m venv $(VENV)/site
	test -x $(VENV)/site/bin/mkdocs || $(VENV)/site/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Sightline needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
