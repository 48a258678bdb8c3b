from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage

from bench.noise_photographs import LEAST_BYTES, MOST_BYTES, write_photographs
from bench.receiving import ASSOCIATIONS, measure, rows
from tests.peers import require


@pytest.fixture(scope="module", autouse=True)
def peers() -> None:
    for program in ("Orthanc", "storescp", "storescu"):
        require(program)


def test_the_photographs_are_what_cameras_send(tmp_path):
    paths = write_photographs(tmp_path, 9, studies=3)
    datasets = [dcmread(path) for path in paths]
    assert all(LEAST_BYTES <= path.stat().st_size <= MOST_BYTES for path in paths)
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 9
    assert len({dataset.StudyInstanceUID for dataset in datasets}) == 3
    for dataset in datasets[:2]:
        assert dataset.SOPClassUID == VLPhotographicImageStorage
        assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns, 3)
        assert np.ptp(dataset.pixel_array) > 100


@pytest.mark.torture
def test_every_receiver_takes_everything_and_is_in_the_table():
    record = measure(files=8, rounds=1, generator="none")
    assert set(record["by_associations"]) == {str(n) for n in ASSOCIATIONS}
    for cases in record["by_associations"].values():
        assert set(cases) == {"facenorm", "Orthanc", "storescp", "storescp --ignore"}
        for figures in cases.values():
            assert 0 < figures["p50_ms"] <= figures["p95_ms"]
            assert figures["objects_per_second"] > 0
        ratio = cases["facenorm"]["objects_per_second"] / cases["Orthanc"]["objects_per_second"]
        assert cases["facenorm"]["ratio_to_orthanc"] == pytest.approx(ratio, rel=0.05)
    table = dict(rows(record))
    assert len(table) == 8
    assert "x Orthanc" in table["C-STORE, 8 at once: facenorm"]


# A minute of two cores.
@pytest.mark.torture
@pytest.mark.real_weights
def test_the_busy_cases_score_meanwhile():
    record = measure(files=2, rounds=1, generator="tests/data/tiny.safetensors")
    assert {"facenorm, busy", "Orthanc, busy"} <= set(record["by_associations"]["1"])
    assert record["by_associations"]["8"]["facenorm, busy"]["ratio_to_orthanc"] > 0
