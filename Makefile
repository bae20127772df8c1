# Two commands need only python3 and make: `make demo` and `make test`. Each makes .venv if it is absent.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test chaos test-commits test-fit-faults test-storm lint test-sae-formats bench-retrieval bench-decode bench-mining bench-packing bench-precision bench-sae bench-sae-curve science clean

demo: $(STAMP)
	$(VENV)/bin/neuroconcepts demo demo

# Two at a time: much of the suite waits for processes to start. What needs Ray's cluster stays together.
test: $(STAMP) lint
	$(PY) -m pytest --numprocesses 2 --dist loadgroup

# Sixteen writers, fifty versions each, on a real S3 server, also through a bad network; `make test` has two each.
test-commits: $(STAMP)
	S3_COMMITS=50 $(PY) -m pytest tests/lake/test_s3.py -k sixteen -o timeout=1800 -o faulthandler_timeout=1800

# A damaged checkpoint on a cluster, refused and mended; `make test` has the same without one.
test-fit-faults: $(STAMP)
	FIT_FAULTS=1 $(PY) -m pytest tests/sae/test_cluster.py

# The whole chain on S3 where more than a third of the requests fail; in `make test` it is every sixth.
test-storm: $(STAMP)
	STORM=1 $(PY) -m pytest tests/test_chain_s3.py

# Mining under every death and fault: drivers, workers, a node, the store, the network, a zombie; some twenty minutes.
chaos: $(STAMP)
	CHAOS=1 $(PY) -m pytest tests/chaos -o timeout=3600 -o faulthandler_timeout=3600

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Peers bring what they like, so they live in an environment of their own.
PEERS ?= benchmarks/out/peers

bench-retrieval: $(STAMP)
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-retrieval.txt
	PEERS_PYTHON=$(PEERS)/bin/python $(PY) -m benchmarks.retrieval

# Checkpoints that SAELens and sparsify wrote, read here, and ours loaded there; golden ones are in `make test`.
PEERS_SAE ?= benchmarks/out/peers-sae

test-sae-formats: $(STAMP)
	test -x $(PEERS_SAE)/bin/python || $(PYTHON) -m venv $(PEERS_SAE)
	$(PEERS_SAE)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-sae.txt
	PEERS_PYTHON=$(PEERS_SAE)/bin/python $(PY) -m benchmarks.sae_formats

bench-sae: $(STAMP)
	test -x $(PEERS_SAE)/bin/python || $(PYTHON) -m venv $(PEERS_SAE)
	$(PEERS_SAE)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-sae.txt
	SAE_PEERS_PYTHON=$(PEERS_SAE)/bin/python $(PY) -m benchmarks.sae

# Reads what `make demo` made.
bench-sae-curve: $(STAMP)
	$(PY) -m benchmarks.sae_curve

# The scientific gate: three worlds that nothing was tuned on, some ten minutes each; `make test` has a short form.
SEEDS ?= 2001 2002 2003

science: $(STAMP)
	SEEDS="$(SEEDS)" $(PY) -m benchmarks.science

bench-decode bench-packing bench-precision: $(STAMP)
	$(PY) -m benchmarks.$(@:bench-%=%)

# pip reads torch's index as the machine has it; constraints.txt is what was tested together.
$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[cpu,web,dicom,dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo
