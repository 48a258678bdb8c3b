"""What a hospital of a given size needs: the calculation of docs/scaling.md, for your own numbers.

python -m bench.hospital_size --photographs 200 --seconds 17 [--gap 0.35] [--hours 8] [--peak 3]
                              [--busy 0.7] [--days 250] [--megabytes 54] [--kilobytes 4.3]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields

from bench.table import show


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """photographs: a day, which come within `hours`; the busiest hour has `peak` times an even one's.

    seconds: that a worker takes for a photograph. gap: seconds between two of them, from the queue. busy: the
    share of a worker's time that the busiest hour may take. days: a year on which photographs are taken.
    megabytes: on the disk, a photograph with its results. kilobytes: in the database. received: photographs
    that a node takes in a second.
    """

    photographs: float
    seconds: float
    gap: float = 0.35
    hours: float = 8.0
    peak: float = 3.0
    busy: float = 0.7
    days: float = 250.0
    megabytes: float = 54.0
    kilobytes: float = 4.3
    received: float = 15.0

    @property
    def busiest_hour(self) -> float:
        """Photographs in it."""
        return self.photographs / self.hours * self.peak

    @property
    def work(self) -> float:
        """Workers' hours in the busiest hour: how many would be busy without a pause."""
        return self.busiest_hour * (self.seconds + self.gap) / 3600

    @property
    def workers(self) -> int:
        """How many are needed, without a spare one."""
        return max(1, math.ceil(self.work / self.busy))

    @property
    def receiving_share(self) -> float:
        """The share of the busiest hour in which the node receives."""
        return self.busiest_hour / 3600 / self.received

    @property
    def terabytes_a_year(self) -> float:
        """On the disk, without retention."""
        return self.photographs * self.days * self.megabytes / 1e6

    @property
    def database_gigabytes_a_year(self) -> float:
        """In the database, which retention does not make smaller."""
        return self.photographs * self.days * self.kilobytes / 1e6


def import_days(photographs: float, workers: int, *, seconds: float, gap: float = 0.0) -> float:
    """Return how long so many workers take for an import of old photographs, when they do nothing else."""
    return photographs * (seconds + gap) / workers / 86_400


def rows(hospital: Hospital) -> list[tuple[str, str]]:
    """Return the lines of the table."""
    return [
        ("photographs in the busiest hour", f"{hospital.busiest_hour:g}"),
        ("workers that would be busy all of it", f"{hospital.work:.2f}"),
        ("workers", f"{hospital.workers}"),
        ("share of that hour in which the node receives", f"{100 * hospital.receiving_share:.1f} %"),
        ("disk, TB a year", f"{hospital.terabytes_a_year:.2f}"),
        ("database, GB a year", f"{hospital.database_gigabytes_a_year:.2f}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(Hospital):
        needed = field.name in ("photographs", "seconds")
        default = None if needed else field.default
        parser.add_argument(f"--{field.name}", type=float, required=needed, default=default)
    show("What it needs", rows(Hospital(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
