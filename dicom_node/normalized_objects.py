"""The normalized photographs of a scoring as DICOM objects: made once, also when a kill came in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.finished_objects import Unrecorded, reference
from dicom_node.kept_pictures import unpacked
from dicom_node.photograph_header import read_header
from dicom_node.scorer_loading import Blender
from pipeline.encounter_score import scoring_id
from pipeline.result import FaceImages, Score
from reports.normalized_photograph import build_normalized_in_place, build_normalized_photograph
from reports.options import ReportOptions, ResultObject
from storage.artefacts import (
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    FinishedObject,
    add_artefact,
    latest_of_photograph,
    object_of_scoring,
)
from storage.file_store import FileStore
from storage.scorings import result_of
from storage.studies import newest_files
from storage.tables import Artefact, Encounter, Patient, Photograph, Scoring

_Build = Callable[..., FileDataset]
_KINDS: dict[str, tuple[ResultObject, _Build]] = {
    NORMALIZED_PHOTOGRAPH: (ResultObject.NORMALIZED, build_normalized_photograph),
    NORMALIZED_IN_PLACE: (ResultObject.IN_PLACE, build_normalized_in_place),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizedObjects:
    """Makes them as the options ask. scorer: puts a normalized face back that was kept without its place."""

    sessions: sessionmaker[Session]
    store: FileStore
    scorer: Blender
    options: ReportOptions
    destinations: tuple[str, ...]

    def make(self, photograph: Photograph, scoring: Scoring, images: FaceImages | None) -> None:
        """Write the objects of a scoring and commit their rows together, unless they are there.

        images: of the scoring just done; None: what was kept of it is read. Nothing is made of a rejected or
        purged photograph. Raises OSError, and what the scorer raises.
        """
        result = result_of(scoring)
        if not isinstance(result, Score) or photograph.purged_at or not scoring.pictures_path:
            return
        wanted = [kind for kind, (chosen, _) in _KINDS.items() if self.options.sends(chosen)]
        if not wanted:
            return
        with self.sessions() as session:
            # Before it is asked whether they are made: each statement may see what another worker has
            # committed since the last, and its objects must not be taken for those that ours succeed.
            predecessors = {kind: latest_of_photograph(session, photograph, kind) for kind in wanted}
            if _are_made(session, photograph, scoring, wanted):
                return
            encounter = session.get_one(Encounter, photograph.encounter_pk)
            patient = session.get_one(Patient, encounter.patient_pk)
            others = newest_files(session, patient.id)
        pictures = self._pictures(photograph, scoring.pictures_path, images)
        header = read_header(
            self.store.absolute(photograph.path), patient, (self.store.absolute(one) for one in others)
        )
        with Unrecorded(self.sessions, self.store) as files:
            made = [
                files.keep(
                    kind, self._built(kind, header, pictures[kind], result, scoring, predecessors[kind])
                )
                for kind in wanted
                if kind in pictures
            ]
            try:
                self._commit(photograph, scoring, made, predecessors)
            except IntegrityError:
                with self.sessions() as session:
                    if not _are_made(session, photograph, scoring, wanted):
                        raise
                # By another worker, which was quicker.
                files.discard()

    def _pictures(
        self, photograph: Photograph, path: str, images: FaceImages | None
    ) -> dict[str, NDArray[np.uint8]]:
        normalized = images.normalized if images else unpacked(self.store.read(path)).normalized
        in_place = images.in_place if images else None
        if images is None and self.options.sends(ResultObject.IN_PLACE):
            in_place = self.scorer.blend_file(self.store.absolute(photograph.path), normalized)
        pictures = {NORMALIZED_PHOTOGRAPH: normalized}
        return pictures if in_place is None else pictures | {NORMALIZED_IN_PLACE: in_place}

    def _built(
        self,
        kind: str,
        header: FileDataset,
        pixels: NDArray[np.uint8],
        score: Score,
        scoring: Scoring,
        predecessor: Artefact | None,
    ) -> FileDataset:
        _, build = _KINDS[kind]
        sop_class, created = self.options.image_sop_class, scoring.created_at
        return build(header, pixels, score, created, sop_class, reference(predecessor))

    def _commit(
        self,
        photograph: Photograph,
        scoring: Scoring,
        made: Iterable[FinishedObject],
        predecessors: dict[str, Artefact | None],
    ) -> None:
        with self.sessions.begin() as session:
            for finished in made:
                add_artefact(
                    session,
                    finished,
                    encounter_pk=photograph.encounter_pk,
                    scorings=[scoring],
                    predecessor=predecessors[finished.kind],
                    destinations=self.destinations,
                    created_at=scoring.created_at,
                    shown=[scoring_id(photograph.sop_instance_uid, scoring.setup_digest)],
                )


def _are_made(session: Session, photograph: Photograph, scoring: Scoring, wanted: Iterable[str]) -> bool:
    # They are committed at once.
    return any(object_of_scoring(session, photograph.encounter_pk, scoring, kind) for kind in wanted)
