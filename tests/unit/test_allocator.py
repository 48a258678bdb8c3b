"""What the allocator is told has an effect."""

import platform
import subprocess
import sys

import pytest

from models.allocator import keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")

_CHURN = """
import resource, sys
from models.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for n in range(25):
    if n == 15:  # the heap has found its size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 40_000_000  # beyond what glibc keeps by itself
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    command = [sys.executable, "-c", _CHURN, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@glibc
def test_glibc_can_be_told() -> None:
    assert keep_freed_memory()


@glibc
def test_freed_blocks_are_used_again_without_page_faults() -> None:
    pages = 10 * 40_000_000 // 4096
    assert faults("keep") < pages / 50
    assert faults("leave") > pages / 2
