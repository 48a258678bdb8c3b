"""UIDs derived from what an object shows, so that the same object always has the same UID (PS3.5 B.2)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Final

from pydicom.uid import UID

# Raise it when the content built from equal input changes: new content must not reuse an old UID.
SCHEMA_VERSION: Final = 6
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "facenorm objects")


def derive_uid(
    role: str,
    *,
    source_uids: Sequence[str],
    scoring_ids: Sequence[str] = (),
    predecessor_uid: str | None = None,
    variant: str = "",
) -> UID:
    """Return 2.25.<uuid5> over every argument and the schema version; at most 44 characters.

    role: what is named, for example "structured_report". source_uids: the photographs (or the study)
    that it is made from. scoring_ids: one identifier per scoring that the object shows, earlier ones
    included (`pipeline.encounter_score.scoring_id`); the digest of a scoring's provenance covers weights and
    settings. predecessor_uid: the object it succeeds. variant: the SOP class, where a setting chooses it.
    """
    return _named(role, SCHEMA_VERSION, list(source_uids), list(scoring_ids), predecessor_uid, variant)


def tracking_uid(sop_instance_uid: str) -> UID:
    """Return what names the face in a photograph in all reports on it, whatever version wrote them."""
    return _named("tracked_face", sop_instance_uid)


def _named(*parts: object) -> UID:
    # JSON keeps ("a", "bc") and ("ab", "c") apart.
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(parts)).int}")
