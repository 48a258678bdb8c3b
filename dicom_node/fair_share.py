"""How many studies of one sender wait in the queue at a time, so that a big import leaves room for others.

The rest wait in the database, and follow as the queue takes them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from storage.studies import OpenStudy


def fair_share(
    new: Sequence[tuple[str, OpenStudy]], waiting: Iterable[OpenStudy], *, most: int
) -> list[tuple[str, OpenStudy]]:
    """Return which of the `new` studies (with their workflows' ids) go into the queue now, and in what order.

    waiting: those that are in it. most: of one sender and urgency at a time, 0: any number. Senders take
    turns; the studies of each keep their order.
    """
    held = Counter((study.sender, study.urgency) for study in waiting)
    ranked = []
    for name, study in new:
        rank = held[study.sender, study.urgency]
        if most and rank >= most:
            continue
        held[study.sender, study.urgency] += 1
        ranked.append((rank, (name, study)))
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]
