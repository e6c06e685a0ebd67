# fastnet: `make run` serves the demo, `make test` builds and runs all tests. `make help` lists the rest.
#
# PYTHON chooses the interpreter; any but the default python3 gets a venv of its own (.venv-313, say). Builds go to
# build/, by variant and interpreter. Everything is incremental.
PYTHON ?= python3
TCP_PORT ?= 9000
HTTP_PORT ?= 8000
# More arguments for pytest (make test ARGS="-k echo", ARGS=tests/unit/test_ring.py) or the benchmarks.
ARGS ?=
# V=1 shows the commands of the build.
V ?=
QUIET = $(if $(V),,-q)

# 311, 315d, ...: names the venv and the build folders of this interpreter.
ifndef TAG
TAG := $(shell $(PYTHON) -c 'import sys; print("%d%d%s" % (*sys.version_info[:2], sys.abiflags))' 2>/dev/null)
endif
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(TAG))
PY = $(VENV)/bin/python
export FASTNET_TAG := $(TAG)

PYTEST = -m pytest -o cache_dir=build/pytest-$(TAG)
RESULTS = build/results-$(TAG)
FAULTS = build/faults-$(TAG)
ASAN = build/asan-$(TAG)
# Python's own leaks are not ours to find; its small blocks come from malloc, so that AddressSanitizer sees them. Of
# what is freed, 16 MiB are kept from reuse, to catch a use after free; the default of 256 MiB costs memory and time.
ASAN_ENVIRONMENT = LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16

# Tests of the checkout itself, which a copy of the packages is not.
REPOSITORY_TESTS = tests/test_packaging.py tests/test_readme.py tests/test_layering.py tests/test_benchmarks.py \
	tests/test_makefile.py tests/test_instructions.py

# tests/faults runs on the faults build, all else on the release build. Paths in ARGS choose the build.
PATHS = $(filter tests/%,$(ARGS))
FAULTS_PATHS = $(filter tests/faults tests/faults/%,$(ARGS))
RELEASE_PATHS = $(filter-out $(FAULTS_PATHS),$(PATHS))
RELEASE_WANTED = $(if $(PATHS),$(RELEASE_PATHS),yes)
FAULTS_WANTED = $(if $(PATHS),$(FAULTS_PATHS),yes)
# pytest's status 5 is that nothing was collected. With ARGS (-k, say) that is all right on one build, not on both.
NOTHING = $(RESULTS)/nothing-selected
or_nothing = { status=$$?; [ "$$status$(if $(ARGS),, without ARGS)" = 5 ] && $(1) || exit $$status; \
	echo 'fastnet: ARGS choose no test of this build'; }

HEADER_WARNINGS = -Wall -Wextra -Werror -Wno-unused-function

.PHONY: help run build test test-release test-faults check-skips bench lint asan clean
.NOTPARALLEL:

help:
	@echo 'make run    [TCP_PORT=9000] [HTTP_PORT=8000]  build, and serve the demo on loopback until Ctrl-C'
	@echo 'make test   [PYTHON=python3] [ARGS=...]       build, and run the test suite; ARGS: of pytest, or paths'
	@echo 'make build  [PYTHON=python3]                  build the extensions in place'
	@echo 'make bench  [ARGS=...]                        echo on asyncio, uvloop and fastnet'
	@echo 'make lint                                     ruff, mypy, stubtest, warnings of the C headers'
	@echo 'make asan   [ARGS=...]                        the test suite under AddressSanitizer'
	@echo 'make clean                                    remove builds, virtual environments and bench-results'

define venv
	@command -v $(PYTHON) >/dev/null || { \
		echo "fastnet: $(PYTHON) is missing: PYTHON= takes the name or the path of an interpreter that is installed." \
			"Debian's own: apt-get install gcc make python3-dev python3-venv" >&2; exit 1; }
	@$(PYTHON) tools/make_venv.py $(VENV) $(1)
endef

define build
	@echo 'build: the release build, in place'
	@$(PY) setup.py $(QUIET) build_ext --inplace
	@$(PY) -c 'import fastnet; print("build: fastnet", fastnet.__version__, "is ready")'
endef

# A separate copy of the packages, and of what else the tests look at, in the folder $(2), built as variant $(1), to run
# with the environment $(3).
define tree
	@echo 'build: the $(1) build in $(2)'
	@FASTNET_BUILD=$(1) $(PY) setup.py $(QUIET) build --build-lib $(2) --build-temp $(2)-objects
	@rm -rf $(2)/tests && cp -r tests pyproject.toml $(2)/
	@cd $(2) && $(3) "$(CURDIR)/$(PY)" -c 'from fastnet_c import testing; assert testing.HAVE_FAULTS, testing.__file__'
endef

run:
	$(call venv,server)
	$(call build)
	@exec $(PY) -m fastnet.demo '--tcp-port=$(TCP_PORT)' '--http-port=$(HTTP_PORT)'

build:
	$(call venv)
	$(call build)

test: $(if $(RELEASE_WANTED),test-release) $(if $(FAULTS_WANTED),test-faults)

test-release:
	$(call venv,test interop)
	$(call build)
	@mkdir -p $(RESULTS) && rm -f $(RESULTS)/release.xml $(NOTHING)
	@echo 'test: the release build'
	@$(PY) $(PYTEST) --ignore=tests/faults --junitxml=$(RESULTS)/release.xml $(filter-out $(FAULTS_PATHS),$(ARGS)) \
		|| $(call or_nothing,$(if $(FAULTS_WANTED),touch $(NOTHING),false))

test-faults:
	$(call venv,test interop)
	$(call tree,faults,$(FAULTS))
	@mkdir -p $(RESULTS) && rm -f $(RESULTS)/faults.xml
	@echo 'test: the faults build'
	@cd $(FAULTS) && PYTHONPATH="$(CURDIR)/$(FAULTS)" "$(CURDIR)/$(PY)" -m pytest $(if $(FAULTS_PATHS),,tests/faults) \
		-o cache_dir="$(CURDIR)/build/pytest-$(TAG)-faults" --junitxml="$(CURDIR)/$(RESULTS)/faults.xml" \
		$(filter-out $(RELEASE_PATHS),$(ARGS)) \
		|| $(call or_nothing,$(if $(RELEASE_WANTED),[ ! -e "$(CURDIR)/$(NOTHING)" ],false))

# Fails when a run of `make test` skipped other tests than tests/skips.txt says.
check-skips:
	@$(PY) tests/check_skips.py $(RESULTS)/release.xml $(RESULTS)/faults.xml

bench:
	$(call venv,bench)
	$(call build)
	$(PY) -m benchmarks $(ARGS)

lint:
	$(call venv,server test lint)
	$(call build)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PY) -m mypy.stubtest --allowlist tests/stubtest_allowlist.txt fastnet fastnet_c
	include=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))'); for header in fastnet_c/csrc/*.h; do \
		$(CC) -fsyntax-only $(HEADER_WARNINGS) -x c -D_GNU_SOURCE -I"$$include" $$header || exit; done

asan:
	$(call venv,test interop)
	$(call tree,asan,$(ASAN),$(ASAN_ENVIRONMENT))
	cd $(ASAN) && $(ASAN_ENVIRONMENT) PYTHONPATH="$(CURDIR)/$(ASAN)" "$(CURDIR)/$(PY)" -m pytest \
		-o cache_dir="$(CURDIR)/build/pytest-$(TAG)-asan" $(REPOSITORY_TESTS:%=--ignore=%) $(ARGS)

clean:
	rm -rf build dist bench-results .venv .venv-* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f fastnet_c/*.so
	find fastnet fastnet_c tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +
