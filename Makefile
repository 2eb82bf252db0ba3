# One verb each. `make dev` and `make test` are all that a fresh machine needs (Python 3.11+, Node 20+, Java 17, make).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: dev test check fix bench pictures bench-cost docs release clean

.venv/.dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@

.venv/.test: .venv/.dev
	$(BIN)/pip install --quiet -e '.[dev,aws,infra]' --group test
	@touch $@

# Debian's Chromium, for the tests of the dashboard: installed where we may, else a word on what to install.
.venv/.chromium: .venv/.test
	@if [ -z "$$CHROMIUM" ] && ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then \
	    if [ "$$(id -u)" = 0 ]; then AS=; elif sudo -n true 2>/dev/null; then AS=sudo; \
	    else echo "Chromium is missing: apt-get install chromium, or say where it is: make test CHROMIUM=/path"; exit 1; fi; \
	    $$AS apt-get update -qq && $$AS env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; \
	fi
	@touch $@

dev: .venv/.dev  ## start the dev server with the shop sample
	$(BIN)/milepost dev samples/shop/app.py --show-payloads

# Slow suites run by themselves: the browser's driver keeps an event loop running in its thread, and the emulator's
# tests of a file share a deployed stack.
test: .venv/.test .venv/.chromium check  ## everything
	$(BIN)/python -m pytest -q -n 2 --ignore tests/browser --ignore tests/emulator
	$(BIN)/python -m pytest -q tests/browser
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/emulator

check: .venv/.test  ## format, lint, types, import laws
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy sdk engine console handlers infra samples tests bench docs tools
	$(BIN)/pyright sdk
	$(BIN)/lint-imports

fix: .venv/.test  ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.test  ## speed on this machine, as numbers
	$(BIN)/python -m bench

bench-cost: .venv/.test  ## what a million runs cost on AWS; rewrites docs/cost.md
	$(BIN)/python -m bench.cost --write

docs: .venv/.test  ## write the pages that follow from the code
	$(BIN)/python docs/generate.py

pictures: .venv/.test .venv/.chromium  ## the pictures of the dashboard, for the README and docs/
	PICTURES=1 $(BIN)/python -m pytest -q tests/browser/test_story.py

release: .venv/.test  ## build, check, commit and tag: make release VERSION=x.y.z (DRY_RUN=1: no commit, no tag)
	@test -n "$(VERSION)" || { echo "Say which version: make release VERSION=x.y.z"; exit 1; }
	$(BIN)/python -m tools.release $(VERSION) $(if $(DRY_RUN),--dry-run)

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache
