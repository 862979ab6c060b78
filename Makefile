# Everything a reader or a developer runs, from a fresh clone, with Python (3.11 or newer) and make alone.
# Windows and conda users: the README gives the same steps without make.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
INSTALL = $(PY) -m pip install --disable-pip-version-check --constraint constraints.txt
PYTEST = $(PY) -m pytest
PROMPT = an orange cat standing on a red castle

# A machine with a GPU often comes with its own torch, which the pins must not replace: the gpu targets
# install nothing and run with the Python named here.
GPU_PYTHON ?= $(PYTHON)
RUN ?= runs/gpu

.PHONY: help demo test quick browser lint train eval bench lab notebooks oneness classroom teacher clean
.PHONY: gpu gpu-test gpu-bench gpu-train gpu-vae gpu-clip gpu-oracle gpu-unet gpu-pixels gpu-classifier gpu-decoder gpu-eval

help:
	@echo "make demo       install, draw \"$(PROMPT)\" and its steps into outputs/"
	@echo "make test       install with the development tools, run every test"
	@echo "make quick      the tests that finish in two minutes"
	@echo "make browser    the tests that move the widgets in JupyterLab, with an installed Chromium"
	@echo "make train      retrain everything: vae, clip, oracle, unet, pixels, classifier, decoder (hours on a CPU; to go on: ARGS=--resume)"
	@echo "make eval       does the model draw what it is told? 500 seen and 500 held-out captions, with intervals"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make bench      how fast is it here, beside diffusers and what this machine can do at most (more: ARGS=--scaling)"
	@echo "make notebooks  build and execute the notebooks from notebooks/source (one of them: ARGS=03), and the README's table of them"
	@echo "make oneness    compare the package with what the notebooks show of it"
	@echo "make classroom  write dist/sdlearn-classroom.zip: notebooks, package, data; no solutions"
	@echo "make teacher    write dist/sdlearn-teacher.zip: the same with solutions, teacher's guide, exam and answers"
	@echo "make lint       check style, format and spelling"
	@echo "make gpu        on an NVIDIA GPU: gpu-test gpu-bench gpu-vae gpu-clip gpu-oracle gpu-unet gpu-pixels gpu-classifier gpu-decoder gpu-eval"
	@echo "make clean      delete the environment, outputs and caches"

# The two stamps say which set is installed; a changed pin or dependency installs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'sdlearn needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Name another one: make PYTHON=python3.12')"
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml constraints.txt
	$(INSTALL) --editable ".[dev]"
	@touch $@

demo: $(VENV)/.installed
	$(PY) -m sdlearn txt2img "$(PROMPT)" --steps-strip

test: $(VENV)/.installed-dev
	$(PYTEST)

quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

browser: $(VENV)/.installed-dev
	$(PYTEST) -m browser

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib README.md CONTRIBUTING.md notebooks/*.md notebooks/solutions/*.md notebooks/source sdlearn tests tools

train: $(VENV)/.installed-dev
	$(PY) -m sdlearn train all $(ARGS)

eval: $(VENV)/.installed-dev
	$(PY) -m sdlearn eval

bench: $(VENV)/.installed-dev
	$(PY) -m sdlearn bench --against diffusers $(ARGS)

lab: $(VENV)/.installed-dev
	$(PY) -m sdlearn lab

notebooks: $(VENV)/.installed-dev
	$(PY) tools/notebooks.py $(ARGS)
	$(PY) tools/readme.py
	$(PY) tools/teaching.py

oneness: $(VENV)/.installed-dev
	$(PY) tools/oneness.py check

# Nothing is installed for this: Python's own library is enough.
classroom:
	$(PYTHON) tools/classroom.py

teacher:
	$(PYTHON) tools/classroom.py teacher

# Each part fits into ten minutes on one modern GPU.
gpu: gpu-test gpu-bench gpu-train gpu-eval

gpu-test:
	$(GPU_PYTHON) -m pytest -m cuda

gpu-bench:
	$(GPU_PYTHON) tools/gpu_bench.py $(ARGS)

gpu-train: gpu-vae gpu-clip gpu-oracle gpu-unet gpu-pixels gpu-classifier gpu-decoder

gpu-vae:
	$(GPU_PYTHON) -m sdlearn train vae --out $(RUN)

gpu-clip:
	$(GPU_PYTHON) -m sdlearn train clip --out $(RUN)

gpu-oracle:
	$(GPU_PYTHON) -m sdlearn train oracle --out $(RUN)

gpu-unet:
	$(GPU_PYTHON) -m sdlearn train unet --out $(RUN)

gpu-pixels:
	$(GPU_PYTHON) -m sdlearn train pixels --out $(RUN)

gpu-classifier:
	$(GPU_PYTHON) -m sdlearn train classifier --out $(RUN)

gpu-decoder:
	$(GPU_PYTHON) -m sdlearn train decoder --out $(RUN)

gpu-eval:
	$(GPU_PYTHON) -m sdlearn eval --device cuda --model $(RUN)/model --full --out $(RUN)/eval.json

clean:
	@$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', 'outputs', '.pytest_cache', '.ruff_cache', 'build', 'dist')]"
