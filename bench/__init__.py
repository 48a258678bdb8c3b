"""Benchmarks and the experiments that chose what ships: `make bench`, `python -m bench.NAME --help`."""

import models  # noqa: F401 - sets how OpenMP waits, before torch is imported
