"""The test peers themselves, so that a broken peer is not taken for a broken product."""

from __future__ import annotations

import subprocess

import pytest

from tests.peers import Modality, OrthancPeer, free_port, require, run_tool, running_orthanc


def test_orthanc_answers_echo_and_starts_empty(orthanc: OrthancPeer) -> None:
    run_tool("echoscu", "-aec", orthanc.ae_title, orthanc.host, str(orthanc.dicom_port))
    assert orthanc.instance_uids() == []


def test_orthanc_knows_its_modalities_and_is_gone_afterwards(tmp_path) -> None:
    with running_orthanc(tmp_path, modalities=[Modality("FACENORM", free_port())]) as peer:
        assert peer.get("/modalities") == ["FACENORM"]
    finished = run_tool("echoscu", "-to", "2", peer.host, str(peer.dicom_port), check=False)
    assert finished.returncode != 0


def test_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FACENORM_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="dicom3tools"):
        require("dciodvfy")
    monkeypatch.setenv("FACENORM_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="dicom3tools"):
        require("dciodvfy")


def test_tools_have_a_time_limit(tmp_path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_tool("storescp", "-od", tmp_path, str(free_port()), timeout=0.5)
