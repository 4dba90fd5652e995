# make demo and make test do all of their own set-up; both are safe to repeat.
#   YES=1          installs what is missing without asking
#   PYTHON=...     the Python that .venv is made with
#   PYTEST_ARGS=   more arguments for pytest, e.g. PYTEST_ARGS='-k firewall'
#   LANES=2        how many tests run side by side; 1 for one after the other, and for --pdb
#   KERNEL_ARGS=   arguments for scripts/kernel/run.py, e.g. KERNEL_ARGS='--seconds 1800'
.DEFAULT_GOAL := help
.PHONY: help setup venv hold core demo test test-kernel check format reference clean
# A file's tests stay together, in the order of the folders.
IN_LANES = $(if $(filter 1,$(LANES)),,-n $(LANES) --dist loadfile --no-loadscope-reorder)
export YES PYTHON
# Some hundred processes of Python are started by the tests; each would compile all of our modules again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST_ARGS ?=
LANES ?= 2
KERNEL_ARGS ?=

help:
	@echo 'make demo    set up this machine, then boot the firewall example and run its tests'
	@echo 'make test    set up this machine, then run the whole test suite'
	@echo 'make test-kernel  a part of it on a stock Debian kernel, under QEMU'
	@echo 'make check   ruff and mypy; needs no root and no Docker'
	@echo 'make setup   only set up: system packages, Docker, .venv, base image'
	@echo 'make reference   write docs/reference from the docstrings'
	@echo 'make clean   remove what was built in this folder'

setup:
	@scripts/setup all

venv:
	@scripts/setup venv

hold:
	python3 setup.py hold

core:
	python3 setup.py core

demo: setup
	@scripts/with-docker .venv/bin/python scripts/demo.py

test: setup
	scripts/with-docker .venv/bin/python -m pytest $(IN_LANES) $(PYTEST_ARGS)

# Not a prerequisite: what set-up cannot install here, the run names, and says that it cannot run.
test-kernel:
	-@scripts/setup kernel
	@python3 -m scripts.kernel.run $(KERNEL_ARGS)

check: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# docs/reference, from signatures and docstrings.
reference: venv
	.venv/bin/python -m scripts.reference

clean:
	rm -rf .venv build dist pytest_sonemu.egg-info pytest_sonemu/emulation/hold pytest_sonemu/relay/libcore.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find pytest_sonemu tests example_packages docs scripts -name __pycache__ -type d -prune -exec rm -rf {} +
