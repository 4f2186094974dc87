# The two commands of the README. Both make .venv the first time and again whenever pyproject.toml or constraints.txt has changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help study test lint docs originals calibration benchmarks redraw gallery clean
.DEFAULT_GOAL := help

help:                    ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

study: $(READY)          ## the founding example: two minutes on a laptop
	$(BIN)/python -m resnet_lab.study plain_vs_residual

test: $(READY) lint      ## lint, types and the whole test suite
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

lint: $(READY)           ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)           ## the pages as a site, in build/docs
	$(BIN)/python docs/notebook.py
	$(BIN)/sphinx-build -q docs build/docs

originals: $(READY)      ## the 45 named networks against torchvision, timm, Keras and networks written by hand, at full size: ten minutes
	$(BIN)/python -m pytest -m originals tests/networks/originals

calibration: $(READY)    ## three minutes: the statistics held against simulated studies and resampled real runs; fails where a bar is missed
	$(BIN)/python benchmarks/calibration/simulated.py
	$(BIN)/python benchmarks/calibration/resampled.py
	$(BIN)/python benchmarks/calibration/end_to_end.py

benchmarks: $(READY)     ## minutes; quote the ratios
	$(BIN)/python benchmarks/default_study.py
	$(BIN)/python benchmarks/bare_loop.py
	$(BIN)/python benchmarks/answers.py

redraw: $(READY)         ## the reference reports from the runs in their archives, and the figure of the README
	rm -rf reports/.redraw reports/reference/*/*/figures reports/reference/*/*/tables
	for folder in reports/reference/*/*/; do name=$${folder#reports/reference/}; name=$${name%/}; store=reports/.redraw/$$name; \
	  $(BIN)/resnet-lab import $${folder}study.tar.gz --studies $$store && \
	  $(BIN)/resnet-lab report $$name --claims ablations/$${name%%/*}.toml --studies $$store --reports reports/reference --redraw || exit; done   # a store each: studies share cells, and not their processors
	cp reports/reference/plain_vs_residual/laptop/figures/depth_vs_error.svg docs/
	rm -rf reports/.redraw

gallery: $(READY)        ## docs/gallery.md: every kind of figure, from the runs in the reference archives
	$(BIN)/python docs/draw_gallery.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'   # 20,000 modules, of which few are imported: Python compiles those then
	touch $@

clean:                   ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build
