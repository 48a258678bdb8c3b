"""Secured connections, with DCMTK's TLS tools on the other side."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.receiver import Receiver
from dicom_node.sender import Sender, Verdict
from dicom_node.settings import Settings
from dicom_node.settings_sections import Tls
from dicom_node.tls import TlsError, calling_context, listening_context
from storage.database import connect, migrate, sessions
from storage.instances import InstanceStore
from storage.tables import Photograph
from tests.certificates import Authority, Identity, authority
from tests.peers import LOOPBACK, free_port, require, run_tool
from tests.receiving import CALLING, RunningReceiver, camera_file, photograph, receiver_settings


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def camera(trusted: Authority) -> Identity:
    return trusted.identity("camera")


@pytest.fixture(scope="module")
def ours(trusted: Authority) -> Tls:
    identity = trusted.identity("facenorm")
    return Tls(
        certificate=str(identity.certificate),
        private_key=str(identity.key),
        trusted=str(trusted.certificate),
    )


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return authority(tmp_path_factory.mktemp("other"), "other-authority").identity("stranger")


@contextmanager
def _secured_receiver(folder: Path, tls: Tls, **node: float) -> Iterator[RunningReceiver]:
    settings: Settings = receiver_settings(folder, node={"tls": True, **node}, tls=tls.model_dump())
    engine = connect(settings.database_url)
    migrate(engine)
    receiver = Receiver(
        settings, sessions=sessions(engine), store=InstanceStore(folder), tls=listening_context(tls)
    )
    receiver.start()
    try:
        yield RunningReceiver(receiver.port, folder, engine)
    finally:
        receiver.stop()
        engine.dispose()


def _tls(identity: Identity, trusted: Authority) -> list[str | Path]:
    return ["+tls", identity.key, identity.certificate, "+cf", trusted.certificate]


def _echo(receiver: RunningReceiver, *options: str | Path) -> subprocess.CompletedProcess[str]:
    known = ["-v", "-to", "10", "-ta", "10", "-td", "10", "-aet", CALLING, "-aec", "FACENORM"]
    return run_tool("echoscu", *known, *options, LOOPBACK, str(receiver.port), check=False)


def test_a_camera_with_a_certificate_may_send(
    tmp_path: Path, ours: Tls, camera: Identity, trusted: Authority
) -> None:
    with _secured_receiver(tmp_path / "data", ours) as receiver:
        for profile in ("--profile-bcp195-nd", "--profile-bcp195"):
            assert _echo(receiver, *_tls(camera, trusted), profile).returncode == 0
        run_tool(
            "storescu", *_tls(camera, trusted), "-xy", "-aet", CALLING, "-aec", "FACENORM",
            LOOPBACK, str(receiver.port), camera_file(tmp_path),
        )  # fmt: skip
        assert len(receiver.rows(Photograph)) == 1


def test_without_a_trusted_certificate_nobody_gets_in(
    tmp_path: Path, ours: Tls, camera: Identity, stranger: Identity, trusted: Authority
) -> None:
    with _secured_receiver(tmp_path / "data", ours) as receiver:
        attempts = {
            "plain": _echo(receiver),
            "anonymous": _echo(receiver, "+tla", "-ic"),
            "stranger": _echo(receiver, *_tls(stranger, trusted)),
            "retired": _echo(receiver, *_tls(camera, trusted), "--profile-null"),
        }
        assert {name: done.returncode != 0 for name, done in attempts.items()} == dict.fromkeys(
            attempts, True
        )
        assert _echo(receiver, *_tls(camera, trusted)).returncode == 0


def test_old_protocols_and_weak_suites_are_not_spoken(tmp_path: Path, ours: Tls, camera: Identity) -> None:
    def negotiate(maximum: ssl.TLSVersion, suites: str) -> str:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.set_ciphers(suites + ":@SECLEVEL=0")
        client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        client.maximum_version = maximum
        client.load_cert_chain(camera.certificate, camera.key)
        with (
            socket.create_connection((LOOPBACK, receiver.port), timeout=10) as plain,
            client.wrap_socket(plain) as secured,
        ):
            return str(secured.version())

    with _secured_receiver(tmp_path / "data", ours) as receiver:
        assert negotiate(ssl.TLSVersion.MAXIMUM_SUPPORTED, "ALL") == "TLSv1.3"
        assert negotiate(ssl.TLSVersion.TLSv1_2, "ALL") == "TLSv1.2"
        with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises((ssl.SSLError, OSError)):
            negotiate(ssl.TLSVersion.TLSv1_1, "ALL")
        for weak in ("AES256-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256"):
            with pytest.raises((ssl.SSLError, OSError)):
                negotiate(ssl.TLSVersion.TLSv1_2, weak)


def test_a_silent_client_blocks_nobody_and_is_dropped(
    tmp_path: Path, ours: Tls, camera: Identity, trusted: Authority
) -> None:
    with _secured_receiver(tmp_path / "data", ours, acse_timeout_seconds=3) as receiver:
        silent = [socket.create_connection((LOOPBACK, receiver.port), timeout=20) for _ in range(5)]
        began = time.monotonic()
        assert _echo(receiver, *_tls(camera, trusted)).returncode == 0
        assert time.monotonic() - began < 3  # not after the silent ones
        # One that drips single bytes of a handshake gets no longer than one that says nothing.
        for byte in (b"\x16", b"\x03", b"\x01"):
            silent[0].sendall(byte)
            time.sleep(0.5)
        for client in silent:
            assert client.recv(100) == b""
            client.close()
        assert time.monotonic() - began < 15


@dataclass(frozen=True)
class _Archive:
    port: int
    host: str = LOOPBACK
    ae_title: str = "PACS"
    tls: bool = True


@contextmanager
def _storescp(folder: Path, *options: str | Path) -> Iterator[_Archive]:
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(
        [require("storescp"), *map(str, options), "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((LOOPBACK, port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield _Archive(port)
    finally:
        process.kill()
        process.wait(timeout=10)


def _sender(tls: Tls) -> Sender:
    context = calling_context(tls)
    return Sender(
        ae_title="FACENORM",
        connect_seconds=5,
        association_seconds=5,
        response_seconds=5,
        tls=lambda: context,
    )


def test_results_go_out_secured_and_to_a_trusted_archive_only(
    tmp_path: Path, ours: Tls, stranger: Identity, trusted: Authority
) -> None:
    result = tmp_path / "result.dcm"
    photograph().save_as(result, enforce_file_format=True)
    good, elsewhere = trusted.identity("archive"), trusted.identity("elsewhere", address="192.0.2.1")
    with _storescp(tmp_path / "good", *_tls(good, trusted)) as archive:
        assert _sender(ours).send(archive, [result])[0].verdict is Verdict.DELIVERED
    with _storescp(tmp_path / "other", *_tls(stranger, trusted)) as archive:
        assert _sender(ours).send(archive, [result])[0].error == "no_association"
    with _storescp(tmp_path / "elsewhere", *_tls(elsewhere, trusted)) as archive:
        assert _sender(ours).send(archive, [result])[0].error == "no_association"
        lenient = ours.model_copy(update={"verify_host": False})
        assert _sender(lenient).send(archive, [result])[0].verdict is Verdict.DELIVERED
    with _storescp(tmp_path / "plain") as archive:
        assert _sender(ours).send(archive, [result])[0].error == "no_association"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"certificate": "/nowhere"}, "tls.certificate"),
        ({"private_key": "{certificate}"}, "tls.private_key"),
        ({"trusted": "/nowhere"}, "tls.trusted"),
    ],
    ids=str,
)
def test_certificates_that_cannot_be_used_are_named(ours: Tls, change: dict[str, str], key: str) -> None:
    values = {name: text.format(certificate=ours.certificate) for name, text in change.items()}
    with pytest.raises(TlsError, match=key):
        listening_context(ours.model_copy(update=values))


def test_a_key_with_a_password_is_refused_and_never_asked_for(ours: Tls, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    run_tool("openssl", "ec", "-in", ours.private_key, "-aes128", "-passout", "pass:test", "-out", locked)
    with pytest.raises(TlsError, match="without a password"):
        listening_context(ours.model_copy(update={"private_key": str(locked)}))
