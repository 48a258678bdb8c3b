"""What the allocator is told has an effect."""

import platform
import subprocess
import sys

import pytest

from models.allocator import keep_freed_memory, keep_some_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")

_CHURN = """
import resource, sys
from models import allocator
if sys.argv[1]:
    assert getattr(allocator, sys.argv[1])()
size = int(sys.argv[2])
for n in range(25):
    if n == 15:  # the heap has found its size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * size
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(told: str, size: int) -> int:
    """Page faults while ten blocks of `size` come and go."""
    command = [sys.executable, "-c", _CHURN, told, str(size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@glibc
def test_glibc_can_be_told() -> None:
    assert keep_freed_memory()
    assert keep_some_freed_memory()


@glibc
@pytest.mark.parametrize(
    ("told", "size"), [("keep_freed_memory", 40_000_000), ("keep_some_freed_memory", 20_000_000)]
)
def test_freed_blocks_are_used_again_without_page_faults(told: str, size: int) -> None:
    assert faults(told, size) < 10 * size // 4096 / 50


@glibc
@pytest.mark.parametrize("told", ["", "keep_some_freed_memory"])
def test_the_largest_blocks_go_back_to_the_system_otherwise(told: str) -> None:
    assert faults(told, 40_000_000) > 10 * 40_000_000 // 4096 / 2
