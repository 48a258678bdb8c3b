"""Two photographs of one person, before and after a treatment, scored by two methods.

The methods: this one, and the anchor score from the literature (`pipeline.anchor_score`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.anchor_score import AnchorScorer
from pipeline.detected_difference import PairSummary, detected_difference, summarised
from pipeline.features import to_tensor
from pipeline.photograph import read_photograph
from pipeline.result import Provenance, Rejection
from pipeline.scoring import PhotographScorer
from pipeline.stopwatch import Stopwatch
from pipeline.supplied_landmarks import landmarks_beside, placed_landmarks

METHODS = ("normalization", "anchors")
"""This method, by the face's own norm, and the baseline."""


@dataclass(frozen=True, slots=True)
class ScorePair:
    """A method's scores before and after; higher is more normal."""

    before: float
    after: float

    @property
    def difference(self) -> float:
        """The detected difference in percent."""
        return detected_difference(self.before, self.after)


@dataclass(frozen=True, slots=True)
class PairScores:
    """What both methods say of a pair: method -> its scores. normalization: 1 to 7; anchors: at most 1."""

    scores: dict[str, ScorePair]


class PairScorer:
    """Scores pairs of photographs with one setup."""

    def __init__(self, scorer: PhotographScorer, anchors: AnchorScorer) -> None:
        self._scorer, self._anchors = scorer, anchors

    @property
    def provenance(self) -> Provenance:
        """What this method's scores rest on."""
        return self._scorer.provenance

    def score(self, before: Path, after: Path) -> PairScores | Rejection:
        """Score two photographs; a rejection of either is the pair's, and says whose it is. Raises OSError.

        Landmarks that a person placed beside a photograph count.
        """
        found: list[tuple[float, float]] = []
        for which, path in (("pre", before), ("post", after)):
            scored = self._scorer.score_file(path, landmarks=landmarks_beside(path))
            if isinstance(scored, Rejection):
                return replace(scored, detail=f"{which}: {scored.detail}")
            found.append((scored.score.value, self._anchor_score(path)))
        first, second = found
        return PairScores({method: ScorePair(first[n], second[n]) for n, method in enumerate(METHODS)})

    def _anchor_score(self, path: Path) -> float:
        device = self._scorer.generator.device
        rgb, landmarks = read_photograph(path), placed_landmarks(path)
        face = self._scorer.measurer.locate(rgb, Stopwatch(), landmarks)
        return self._anchors.score(to_tensor(face.picture, device), torch.from_numpy(face.mask).to(device))


def summaries(pairs: list[PairScores]) -> dict[str, PairSummary]:
    """Return what each method says of all pairs; raises ValueError without a pair."""
    return {
        method: summarised([(pair.scores[method].before, pair.scores[method].after) for pair in pairs])
        for method in METHODS
    }
