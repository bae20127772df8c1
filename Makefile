# Two commands need only python3 and make: `make demo` and `make test`. Each makes .venv if it is absent.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# A failing test fails the pipe that names its lane.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: demo test lint clean lane-chain lane-plain lane-docs

demo: $(STAMP)
	$(VENV)/bin/neuroconcepts demo demo

# Two lanes, because what runs on Ray mostly waits for one process after another to start; each lane has a cluster of
# its own. `$(PY) -m pytest` alone runs the same tests one by one.
test: $(STAMP)
	$(MAKE) --no-print-directory --jobs=2 lane-chain lint lane-plain lane-docs

LANE = $(PY) -m pytest -p no:cacheprovider $(1) 2>&1 | sed -u 's/^/$(2) | /'

lane-chain: $(STAMP)
	$(call LANE,-m cluster --ignore=tests/test_docs.py,chain)

lane-plain: $(STAMP)
	$(call LANE,-m "not cluster",plain)

lane-docs: $(STAMP)
	$(call LANE,-m cluster tests/test_docs.py,docs )

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# pip reads torch's index as the machine has it; constraints.txt is what was tested together.
$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[cpu,dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo
