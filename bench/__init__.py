"""Benchmarks and the experiments that chose what ships: `make bench`, `python -m bench.NAME --help`."""
