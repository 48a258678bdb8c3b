PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra pip options, for example an index that holds the CPU build of torch (see README).
PIP_ARGS ?=
STAMP := $(VENV)/.installed
SAY := @printf '\n==> %s\n'

.PHONY: demo test check check-deploy bench evaluate torture weights peers clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("facenorm needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@# Asked for pip, because an interrupted run may have left a Python without it.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		printf '\n==> Creating the virtual environment $(VENV)\n'; \
		$(PYTHON) -m venv $(VENV) || { echo "If Python's venv module is missing: Debian and Ubuntu have it in python3-venv" >&2; exit 1; }; }
	$(SAY) "Installing facenorm and its libraries into $(VENV): 2 GB with the CPU build of torch, a few minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

weights: $(STAMP)
	$(SAY) "Weights: 200 MB are fetched once and checked"
	@$(BIN)/facenorm models fetch

peers:
	$(SAY) "Programs that the tests talk to"
	@deploy/test-peers.sh

demo: weights
	$(SAY) "facenorm demo"
	@$(BIN)/facenorm demo

check: $(STAMP) check-deploy
	$(SAY) "Style, types and imports"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# compose.gpu.yaml is no whole file, but the schema asks for none.
check-deploy: $(STAMP)
	$(SAY) "The files of deploy/"
	$(BIN)/hadolint deploy/docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose/compose.yaml deploy/compose/compose.gpu.yaml
	$(BIN)/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))
	deploy/check-installed.sh

# Packages of the system are fetched while Python's are: each waits for a network or a disk of its own.
test:
	@$(MAKE) --jobs=3 check weights peers
	$(SAY) "Tests, in six processes"
	@# More than there are cores: half of what a test does is waiting for other programs.
	@# Hundreds of processes start ours: compiled once, whatever the environment wants.
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not torture" -n 6 --dist loadfile --no-loadscope-reorder

# Where photographs of people lie; without them only generated faces are measured.
PHOTOS ?=

evaluate: weights
	$(SAY) "Measuring what is not measured yet: hours without a GPU; it may be interrupted"
	$(BIN)/python -m bench.measure_cases --generated 400 $(if $(PHOTOS),--photos $(PHOTOS))
	$(BIN)/python -m bench.evaluate $(if $(PHOTOS),--photos $(PHOTOS)) \
		--document docs/validation.md --record bench/results/validation.json --plot docs/images/validation.png

bench: weights peers
	$(SAY) "Scoring speed, receiving, memory and growth: 5 to 10 minutes on 2 idle cores"
	$(BIN)/python -m bench

torture: weights peers
	$(SAY) "Kills, hostile input and load at full count: an hour; figures go to bench/results/torture.json"
	FACENORM_FIGURES=bench/results/torture.json $(BIN)/python -m pytest -m torture -s

clean:
	rm -rf $(VENV) build *.egg-info
