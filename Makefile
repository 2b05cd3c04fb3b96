# `make run` and `make test` need make and Python 3.10 or newer; they install the rest into a virtual environment.

PYTHON ?= python3
# PYTHON=python3.12 uses a virtual environment of its own, .venv-3.12.
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL_FAILED = echo "The installation failed; pip's last lines say why. If it could not download: behind a proxy set HTTPS_PROXY," \
	"for a package index of your own set PIP_INDEX_URL ('$(BIN)/python -m pip config list' shows what is set). Then try again."

.PHONY: help install run psql test lint format bench fuzz client openapi settings clean

help:
	@echo "make run     serve on http://127.0.0.1:8080 with a PostgreSQL of its own"
	@echo "make psql    open the database of 'make run'"
	@echo "make test    run the tests (PYTHON=python3.12 for another interpreter, ARGS='-k login' for some,"
	@echo "             ARGS='-m \"not slow\"' for all but the slow ones)"
	@echo "make lint    check style and types"
	@echo "make bench   measure what the README promises, in under five minutes"
	@echo "make fuzz    send 100,000 random calls and compare the answers with openapi.yaml, in under ten minutes (SEED=2 for others)"
	@echo "make client  generate TypeScript types from openapi.yaml and use them against the service; needs Node.js"
	@echo "make openapi make ops/openapi.json from openapi.yaml"
	@echo "make settings write the settings of config.py into .env.example and docs/operating.md"
	@echo "make format  mend what the linter can mend"
	@echo "make clean   remove what the other targets made, except the data of 'make run'"

install: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt
	@"$(PYTHON)" -c 'pass' || { echo "$(PYTHON) does not run: name another, such as PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python lacks the venv module: install it (on Debian: apt install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV), once; this takes about a minute."
	"$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt || { echo; $(INSTALL_FAILED); exit 1; }
	@touch $@

run: $(STAMP)
	@exec $(BIN)/python app.py

psql: $(STAMP)
	@exec $(BIN)/python -m dev.psql

# The least coverage is promised for the whole suite, so it does not bind a part of it. Two processes share the tests,
# but those that compare times, or load the machine, run without others beside them.
REPORT = --cov-report=term-missing:skip-covered
test: $(STAMP)
ifeq ($(ARGS),)
	@status=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone" --cov-report= --cov-fail-under=0 || status=1; \
	$(BIN)/python -m pytest -m alone --cov-append $(REPORT) || status=1; \
	exit $$status
else
	$(BIN)/python -m pytest $(REPORT) --cov-fail-under=0 $(ARGS)
endif

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy .
	$(BIN)/hadolint Dockerfile

bench: $(STAMP) .venv-bench/.installed
	$(BIN)/python -m bench.run

.venv-bench/.installed: bench/requirements.txt
	"$(PYTHON)" -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@touch $@

fuzz: $(STAMP) .venv-fuzz/.installed
	SEED=$(or $(SEED),1) $(BIN)/python -m fuzz.run

.venv-fuzz/.installed: fuzz/requirements.txt
	"$(PYTHON)" -m venv --clear .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check -r fuzz/requirements.txt
	@touch $@

client: $(STAMP) tests/client/node_modules/.installed
	$(BIN)/python -m tests.client.run

tests/client/node_modules/.installed: tests/client/package.json
	npm install --prefix tests/client --no-audit --no-fund
	@touch $@

openapi: $(STAMP)
	$(BIN)/python -m tests.support.contract

settings: $(STAMP)
	$(BIN)/python -m dev.settings_docs

format: $(STAMP)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf .venv .venv-* tests/client/node_modules tests/client/build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
