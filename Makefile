# `make` or `make help` lists the targets. Everything runs in .venv, which any target that needs it builds first.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Options for the tools, as in: make test ARGS="-k webhook"
ARGS ?=
# How many tests run at once: they wait more than they compute.
WORKERS ?= 3
# Which Python to build .venv from; found by tools/find-python.sh when empty.
PYTHON ?=
UV_VERSION := 0.13.9

# Oldest and newest minor version of Python 3 that the oldest supported grpcio-tools has wheels for.
PROTOS_PYTHON := 11 13

BIN := .venv/bin
PIP_INSTALL := -m pip --disable-pip-version-check --no-input install
QUIETLY := --quiet --quiet
# Pins $(2) in $(1), for all platforms and Pythons, by hash and never by address; leaves an unchanged file untouched.
define pin
cp $(1) $(1).new 2>/dev/null || true; \
.venv-lock/bin/uv pip compile $(2) $(LOCK_OPTIONS) --output-file $(1).new && ! grep '://' $(1).new \
	&& if cmp -s $(1).new $(1); then rm $(1).new; echo "$(1): unchanged"; \
	else mv $(1).new $(1); echo "$(1): changed"; fi
endef
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --quiet $(if $(filter 1,$(UPGRADE)),--upgrade)
# What the container images hold: the same releases as requirements.lock, without those that only checks and tests need.
PRODUCTION_EXTRAS := --extra service --extra gateway --extra cli --extra otel

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/ok ## create, run and watch deployments on a throw-away stack; nothing else needed
	@$(BIN)/python -m devstack.demo $(ARGS)

.PHONY: run
run: .venv/ok ## run the whole stack in the foreground, settings in .dev/env; Ctrl-C stops it
	@exec $(BIN)/python -m devstack.stack $(ARGS)

##@ Check

.PHONY: test
test: .venv/ok ## run all tests; some of them: make test ARGS="-k webhook"
	@WORKERS=$(WORKERS) tools/test.sh $(ARGS)

.PHONY: test-platform
test-platform: .venv/ok ## run the service behind the real PgBouncer, HAProxy and nginx, installed where allowed
	@tools/platform.sh
	@$(BIN)/python -m pytest tests/platform $(ARGS) && echo "make test-platform: everything passed."

.PHONY: test-node
test-node: .venv/ok ## run the Node.js client of examples/node against a service that is killed
	@tools/node.sh
	@$(BIN)/python -m pytest tests/node $(ARGS) && echo "make test-node: everything passed."

.PHONY: test-images
test-images: .venv/ok ## build the container images with buildah and carry out a run through them; as root, on Debian
	@tools/images.sh
	@$(BIN)/python -m pytest tests/images $(ARGS) && echo "make test-images: everything passed."

.PHONY: chaos
chaos: .venv/ok ## kill, delay and lose everything for some minutes; the same round again: make chaos SEED=7
	@SEED=$(SEED) $(BIN)/python -m pytest -m full -s tests/chaos $(ARGS) \
		&& echo "make chaos: everything passed." \
		|| { status=$$?; echo "make chaos: FAILED, see above."; exit $$status; }

.PHONY: model
model: .venv/ok ## check the models of docs/models/ exhaustively with spin, installed where allowed
	@tools/model.sh $(BIN)/python $(ARGS)

.PHONY: soak
soak: .venv/ok ## watching in full size: replicas killed under 50 watchers and 20,000 events, a thousand watchers at once
	@$(BIN)/python -m pytest -m full -s tests/acceptance tests/integration $(ARGS) \
		&& echo "make soak: everything passed." \
		|| { status=$$?; echo "make soak: FAILED, see above."; exit $$status; }

.PHONY: lint
lint: .venv/ok ## check style, words, layering, the contract and its generated code
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted; to format: make format"; exit 1; }
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint
	@tools/buf-breaking.sh $(BIN)/buf
	@$(MAKE) check-generated
	@$(BIN)/python tools/reference.py check
	@$(BIN)/python tools/plain_words.py
	@echo "make lint: everything passed."

.PHONY: typecheck
typecheck: .venv/ok ## check types (mypy, strict)
	@$(BIN)/mypy $(ARGS)

.PHONY: check
check: ## all of it: lint, typecheck, test
	@$(MAKE) lint
	@$(MAKE) typecheck
	@$(MAKE) test

.PHONY: check-generated
check-generated: ## is deployment_service/v1 what protos/ generates, and does the core run on its oldest dependencies
	@if tools/find-python.sh $(PROTOS_PYTHON) >/dev/null 2>&1; then \
		$(MAKE) --silent .venv-protos/ok && .venv-protos/bin/python tools/protos.py check; \
	else \
		echo "Generated code not checked: the generator needs a Python between 3.11 and 3.13."; \
	fi

##@ Change

.PHONY: format
format: .venv/ok ## format the code, with the automatic fixes of ruff
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

.PHONY: protos
protos: .venv-protos/ok ## generate deployment_service/v1 from protos/
	@.venv-protos/bin/python tools/protos.py generate

.PHONY: reference
reference: .venv/ok ## write the tables of docs/reference/ from the code
	@$(BIN)/python tools/reference.py write

.PHONY: baseline
baseline: .venv/ok ## make today's contract the one that `make lint` compares with
	@$(BIN)/buf build --exclude-source-info --output protos/baseline.binpb

##@ House

.PHONY: venv
venv: .venv/ok ## only build .venv
	@echo "$$($(BIN)/python --version) in .venv is ready."

.PHONY: lock
lock: .venv-lock/ok ## pin the dependencies of pyproject.toml anew; UPGRADE=1 takes newer releases
	@$(call pin,requirements.lock,pyproject.toml --extra dev)
	@$(call pin,requirements-production.lock,pyproject.toml $(PRODUCTION_EXTRAS) --constraint requirements.lock)
	@$(call pin,requirements-build.lock,--group build --constraint requirements.lock)
	@$(call pin,requirements-simulator.lock,--group simulator --constraint requirements.lock)
	@$(call pin,requirements-protos.lock,--group protos)

.PHONY: clean
clean: ## remove all that builds and tests leave, .venv too
	rm -rf .venv .venv-protos .venv-lock .dev build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# The environments. A changed lock rebuilds one from nothing, so that what was unpinned is gone as well;
# a changed pyproject.toml only registers our own package anew. One dependency comes as source only; it is built
# with the locked setuptools, not with whichever is newest.

.venv/deps: requirements.lock
	@python=$${PYTHON:-$$(tools/find-python.sh)} && [ -n "$$python" ] \
		&& echo "Building .venv with $$($$python --version); about half a minute, once." \
		&& $$python -m venv --clear .venv
	@awk '/^[^ ]/ { keep = /^setuptools==/ } keep' requirements.lock >.venv/build.lock
	@$(BIN)/python $(PIP_INSTALL) $(QUIETLY) --require-hashes -r .venv/build.lock
	@{ $(BIN)/python $(PIP_INSTALL) --require-hashes --no-build-isolation -r requirements.lock 2>.venv/pip-errors && touch $@; } \
		| awk -v total="$$(grep -c '==' requirements.lock)" \
			'/^Collecting/ && ++n % 15 == 0 { print "  " n " of about " total " packages fetched" } \
			/^Installing/ { print "  installing them" } { fflush() }'
	@[ -e $@ ] || { cat .venv/pip-errors >&2; exit 1; }

.venv/ok: .venv/deps pyproject.toml
	@$(BIN)/python $(PIP_INSTALL) $(QUIETLY) --no-deps --no-build-isolation --editable .
	@touch $@

.venv-protos/ok: requirements-protos.lock
	@python=$$(tools/find-python.sh $(PROTOS_PYTHON)) && [ -n "$$python" ] \
		&& echo "Building .venv-protos with $$($$python --version) ..." \
		&& $$python -m venv --clear .venv-protos \
		&& .venv-protos/bin/python $(PIP_INSTALL) $(QUIETLY) --require-hashes -r requirements-protos.lock
	@touch $@

.venv-lock/ok: Makefile
	@python=$${PYTHON:-$$(tools/find-python.sh)} && [ -n "$$python" ] \
		&& $$python -m venv --clear .venv-lock \
		&& .venv-lock/bin/python $(PIP_INSTALL) $(QUIETLY) uv==$(UV_VERSION)
	@touch $@
