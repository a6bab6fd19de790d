# Two commands do everything on a bare machine with Python 3.11–3.13 and make:
#   make demo    servers, a simulated city, its ETAs beside the truth, and speeds, live
#   make test    lint, types, every tier of tests
# While you work:
#   make check   lint, types and the unit tests, in 2 to 4 minutes on two cores
.PHONY: demo test check lint prove faults bench leakage kafka flink quix mutants install lock vendor pictures clean

# The first interpreter that fits and really runs; name another with `make PYTHON=… test`.
FITS = -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3 python; do \
	$$p $(FITS) 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
# Some container images set it. Each of the hundreds of processes of a test run would then compile all its modules.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED = .venv/.installed

install: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements.lock
	@$(if $(PYTHON),$(PYTHON) $(FITS) 2>/dev/null,false) || { echo "Python 3.11, 3.12 or 3.13 is needed$(if $(PYTHON),; PYTHON=$(PYTHON) is none of them): make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --only-binary=:all: --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python app.py demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.web.node_tools

# Lint, types and the tests that need no server, in 2 to 4 minutes on two cores.
CHECK_WORKERS ?= 2
check: lint
	$(BIN)/python -m pytest tests/unit --numprocesses=$(CHECK_WORKERS) -q

# Test files run in parallel, each file whole in one worker with servers of its own, the longest first
# (tests/support/worlds/concurrent_runs.py). More workers than cores, because tests wait more than they compute. One test
# at a time, on a busy machine: make test WORKERS=0
WORKERS ?= 4
test: lint
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --durations=25 --durations-min=10

# The long proofs at full size; writes proofs/ and docs/proofs.md with commit and seed. Hours are fine.
UNBOUNDED = --timeout=0 --override-ini=faulthandler_timeout=0
prove: $(INSTALLED)
	RIDELOG_TEST_PROVE=1 $(BIN)/python -m pytest -m proof $(UNBOUNDED) --no-header -q

# Apache Kafka from Maven Central on free ports, until Ctrl-C; three brokers: make kafka BROKERS=3
BROKERS ?= 1
kafka: $(INSTALLED)
	$(BIN)/python -m tests.support.servers.run_kafka --brokers $(BROKERS)

# Only the faults, and their table in docs/guarantees.md. How many instants each: make faults INSTANTS=5
INSTANTS ?= 20
faults: $(INSTALLED)
	RIDELOG_TEST_PROVE=1 RIDELOG_TEST_INSTANTS=$(INSTANTS) $(BIN)/python -m pytest tests/faults/test_every_fault.py --no-header -q; \
	code=$$?; $(BIN)/python -m tests.support.faults.table; exit $$code

# Mutants of the core, and 300 each of the event store and of the relay: docs/mutation.md.
# After a test was added, run what was not killed again: make mutants MUTANTS=--again
MUTMUT = mutmut==3.8.1
MUTANTS ?=
mutants: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check $(MUTMUT)
	$(BIN)/python -m tests.support.mutation.run $(MUTANTS)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# Who leaks where: Ridelog, Feast and plain as-of joins on the traps of docs/leakage.md. The others have packages of
# their own, which must not decide the versions of ours.
OTHERS = .leakage-venv
OTHERS_INSTALLED = $(OTHERS)/.installed
$(OTHERS_INSTALLED): $(INSTALLED) benchmarks/leakage/requirements.lock
	rm -rf $(OTHERS) && $(PYTHON) -m venv $(OTHERS)
	$(OTHERS)/bin/pip install --quiet --disable-pip-version-check --only-binary=:all: --requirement benchmarks/leakage/requirements.lock
	touch $(OTHERS_INSTALLED)

LEAKAGE ?=
leakage: $(OTHERS_INSTALLED)
	@$(BIN)/python -m benchmarks.leakage $(LEAKAGE)

# Apache Flink (docs/flink.md), in an environment of its own: its Python packages exclude ours. 830 MB, some minutes;
# nothing else needs it. The connector that reads Kafka comes from Maven Central.
FLINK = .flink-venv
FLINK_INSTALLED = $(FLINK)/.installed
FLINK_FITS = -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'
FLINK_PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p $(FLINK_FITS) 2>/dev/null && echo $$p && break; done)
FLINK_SOURCES = crcmod,dill,docopt,hdfs
flink: $(FLINK_INSTALLED)
$(FLINK_INSTALLED): deploy/flink/requirements.lock deploy/flink/pom.xml deploy/flink/config.yaml deploy/flink/client.yaml deploy/flink/reporter/BoundPrometheusReporterFactory.java
	@$(if $(FLINK_PYTHON),$(FLINK_PYTHON) $(FLINK_FITS) 2>/dev/null,false) || { echo "Flink needs Python 3.11 or 3.12: make FLINK_PYTHON=/path/to/python3.12 flink"; exit 1; }
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "Flink needs Java 17 and Maven: install them, then make flink"; exit 1; }
	rm -rf $(FLINK) && $(FLINK_PYTHON) -m venv $(FLINK)
	$(FLINK)/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --no-binary=$(FLINK_SOURCES) --requirement deploy/flink/requirements.lock
	mkdir $(FLINK)/flink-lib $(FLINK)/flink-conf $(FLINK)/flink-client
	mvn -q -B -f deploy/flink/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(FLINK))/flink-lib
	home=$$($(FLINK)/bin/python -c 'import pathlib, pyflink; print(pathlib.Path(pyflink.__file__).parent)') && \
	ln -s $$home/lib/*.jar $$home/opt/flink-python-*.jar $(FLINK)/flink-lib && \
	cp $$home/conf/*.properties $(FLINK)/flink-conf && cp $$home/conf/*.properties $(FLINK)/flink-client
	cp deploy/flink/config.yaml $(FLINK)/flink-conf/config.yaml
	cp deploy/flink/client.yaml $(FLINK)/flink-client/config.yaml
	@if command -v javac >/dev/null; then $(MAKE) --no-print-directory $(FLINK)/reporter; else echo "javac not found: Flink exposes no metrics of its own (docs/flink.md)"; fi
	touch $(FLINK_INSTALLED)

# Flink's Prometheus reporter on loopback alone, in the folder of the plugin that it extends.
REPORTER = org.apache.flink.metrics.prometheus.BoundPrometheusReporterFactory
$(FLINK)/reporter: deploy/flink/reporter/BoundPrometheusReporterFactory.java
	rm -rf $@ && mkdir -p $@/META-INF/services
	home=$$($(FLINK)/bin/python -c 'import pathlib, pyflink; print(pathlib.Path(pyflink.__file__).parent)') && \
	javac --release 17 -cp "$(FLINK)/flink-lib/*:$$home/plugins/metrics-prometheus/*" -d $@ $< && \
	echo $(REPORTER) >$@/META-INF/services/org.apache.flink.metrics.reporter.MetricReporterFactory && \
	jar --create --file $$home/plugins/metrics-prometheus/bound-reporter.jar -C $@ .

# What is lost or counted twice under faults: the runner, Flink, and Quix Streams, whose packages are its own.
QUIX_VENV = .quix-venv
QUIX_INSTALLED = $(QUIX_VENV)/.installed
$(QUIX_INSTALLED): $(INSTALLED) benchmarks/quix/requirements.lock
	rm -rf $(QUIX_VENV) && $(PYTHON) -m venv $(QUIX_VENV)
	$(QUIX_VENV)/bin/pip install --quiet --disable-pip-version-check --only-binary=:all: --requirement benchmarks/quix/requirements.lock
	touch $(QUIX_INSTALLED)

QUIX ?=
quix: $(QUIX_INSTALLED) $(FLINK_INSTALLED)
	@$(BIN)/python -m benchmarks.quix $(QUIX)

# Exact versions, without any index address.
lock:
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --only-binary=:all: --editable '.[dev]'
	{ echo '# Exact versions; made by `make lock`.'; .lock-venv/bin/pip freeze --exclude-editable; } > requirements.lock
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --only-binary=:all: --requirement benchmarks/leakage/requirements.in
	{ echo '# Exact versions; made by `make lock`.'; .lock-venv/bin/pip freeze; } > benchmarks/leakage/requirements.lock
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --only-binary=:all: --requirement benchmarks/quix/requirements.in
	{ echo '# Exact versions; made by `make lock`.'; .lock-venv/bin/pip freeze; } > benchmarks/quix/requirements.lock
	rm -rf .lock-venv && $(FLINK_PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --only-binary=:all: --no-binary=$(FLINK_SOURCES) --requirement deploy/flink/requirements.in
	{ echo '# Exact versions for Python 3.11 and 3.12, complete: pip need resolve nothing. Made by `make lock`.'; .lock-venv/bin/pip freeze; } > deploy/flink/requirements.lock
	rm -rf .lock-venv

# The page's libraries from npm, checked against infrastructure/http/web/vendor/versions.json.
vendor: $(INSTALLED)
	$(BIN)/python -m tests.support.web.vendor

# The pictures of the page in the README, taken in an installed Chromium.
pictures: $(INSTALLED)
	$(BIN)/python -m tests.support.web.readme_pictures

# The data of `serve` and `demo` is kept, and reported.
clean:
	rm -rf .venv .lock-venv tests/support/web/node/node_modules $(OTHERS) $(FLINK) $(QUIX_VENV) build mutants *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.ridelog/*' -prune -exec rm -rf {} +
	@test ! -e .ridelog || echo "kept: .ridelog, the data of serve and demo; to start empty: rm -r .ridelog"
