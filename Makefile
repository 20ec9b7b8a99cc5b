# Every target is one script in .ci/, so that a person and a machine run the same thing.

.PHONY: help demo test check bench fuzz

help:
	@echo 'make demo    install what is missing, build, start the demo and print where to go'
	@echo 'make test    install what is missing and run every test: both database engines, a real browser'
	@echo 'make check   format, lints, documentation, dependency policy'
	@echo 'make bench   measure speed beside nginx and Apache (BENCH=full: every cell)'
	@echo 'make fuzz    look for bytes that break a promise (TARGET=path SECONDS=3600)'

demo:
	@.ci/demo

test:
	@.ci/test

check:
	@.ci/check

bench:
	@.ci/bench

fuzz:
	@.ci/fuzz $(or $(TARGET),all) $(or $(SECONDS),60)
