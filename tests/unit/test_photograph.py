import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.photograph import read_photograph
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason
from tests.pictures import COLUMNS, ROWS, known_rgb


def rejection_of(path: Path) -> Rejection:
    with pytest.raises(UnscorablePhotographError) as caught:
        read_photograph(path)
    assert path.name not in caught.value.rejection.detail
    return caught.value.rejection


def mean_error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    assert one.dtype == np.uint8
    return float(np.abs(one.astype(np.int16) - other).mean())


def test_a_png_comes_back_exactly(tmp_path: Path) -> None:
    Image.fromarray(known_rgb()).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "p.png"), known_rgb())


def test_the_contents_decide_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(known_rgb()).save(tmp_path / "p.dcm", format="JPEG", quality=95)
    assert mean_error(read_photograph(tmp_path / "p.dcm"), known_rgb()) < 1


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, 1)),
        (7, lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda p: np.rot90(p, -1)),
    ],
)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, turned: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turned(known_rgb()))  # type: ignore[operator]
    Image.fromarray(stored).save(tmp_path / "p.jpg", quality=95, subsampling=0, exif=exif)
    assert mean_error(read_photograph(tmp_path / "p.jpg"), known_rgb()) < 1


def test_orientation_is_honoured_beside_entries_of_a_wrong_type(tmp_path: Path) -> None:
    """TIFF 6.0, Image File Directory: here a width that is text, and orientation 6."""
    width = struct.pack("<HHI4s", 0x0100, 2, 4, b"320\0")
    orientation = struct.pack("<HHII", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + width + orientation + bytes(4)
    stored = np.ascontiguousarray(np.rot90(known_rgb(), 1))
    Image.fromarray(stored).save(tmp_path / "p.jpg", quality=95, subsampling=0, exif=exif)
    assert mean_error(read_photograph(tmp_path / "p.jpg"), known_rgb()) < 1


def test_alpha_is_laid_over_grey(tmp_path: Path) -> None:
    rgba = np.dstack((known_rgb(), np.full((ROWS, COLUMNS), 255, np.uint8)))
    rgba[:100, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "p.png")
    rgb = read_photograph(tmp_path / "p.png")
    assert (rgb[:100] == 128).all()
    np.testing.assert_array_equal(rgb[100:], known_rgb()[100:])


def test_16_bits_are_scaled(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), known_rgb()[..., ::-1].astype(np.uint16) * 257)
    assert mean_error(read_photograph(tmp_path / "p.png"), known_rgb()) == 0


def test_a_palette_png_is_colour(tmp_path: Path) -> None:
    Image.fromarray(known_rgb()).quantize(256).save(tmp_path / "p.png")
    assert mean_error(read_photograph(tmp_path / "p.png"), known_rgb()) < 4


def test_an_embedded_profile_is_honoured(tmp_path: Path) -> None:
    """A profile with red and blue primaries exchanged must exchange the channels."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    exchanged = srgb.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")
    exchanged = exchanged.replace("sRGB".encode("utf-16-be"), "tRGB".encode("utf-16-be")).replace(
        b"sRGB", b"tRGB"
    )
    Image.fromarray(known_rgb()[..., ::-1].copy()).save(tmp_path / "p.png", icc_profile=bytes(exchanged))
    assert mean_error(read_photograph(tmp_path / "p.png"), known_rgb()) < 1.5


def test_a_broken_profile_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(known_rgb()).save(tmp_path / "p.png", icc_profile=b"not a profile" * 20)
    np.testing.assert_array_equal(read_photograph(tmp_path / "p.png"), known_rgb())


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "p.jpg"), ("L", "p.png"), ("LA", "p.png"), ("1", "p.png"), ("CMYK", "p.jpg")]
)
def test_other_colours_are_rejected(tmp_path: Path, mode: str, name: str) -> None:
    Image.fromarray(known_rgb()).convert(mode).save(tmp_path / name)
    rejection = rejection_of(tmp_path / name)
    assert rejection.reason is RejectionReason.UNSUPPORTED_COLOUR
    assert (rejection.rows, rejection.columns) == (ROWS, COLUMNS)


def test_a_small_picture_is_rejected(tmp_path: Path) -> None:
    Image.fromarray(known_rgb(255, 400)).save(tmp_path / "p.png")
    rejection = rejection_of(tmp_path / "p.png")
    assert rejection.reason is RejectionReason.FACE_TOO_SMALL
    assert (rejection.rows, rejection.columns) == (255, 400)


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_picture_bomb_is_not_decoded(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))
    rejection = rejection_of(tmp_path / "p.png")
    assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
    assert "smaller" in rejection.detail or "reduce" in rejection.detail


def test_an_animation_is_rejected(tmp_path: Path) -> None:
    frame = Image.fromarray(known_rgb())
    frame.save(tmp_path / "p.png", save_all=True, append_images=[frame.rotate(180)])
    assert rejection_of(tmp_path / "p.png").reason is RejectionReason.NOT_A_SINGLE_FRAME


@pytest.mark.parametrize("contents", [b"", b"GIF89a", b"hello" * 100, bytes(128) + b"DICM", bytes(4000)])
def test_other_files_are_rejected(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "some-file").write_bytes(contents)
    assert rejection_of(tmp_path / "some-file").reason is RejectionReason.UNREADABLE_PIXELS


def test_a_missing_file_is_an_error_not_a_rejection(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_photograph(tmp_path / "none.jpg")


def _encoded(name: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(known_rgb()).save(stream, format=name)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged EXIF; what counts is what comes back
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["JPEG", "PNG"]),
    share=st.floats(0, 0.999),
    flips=st.lists(st.floats(0, 1), max_size=4),
)
def test_damaged_pictures_only_ever_raise_a_rejection(
    tmp_path: Path, name: str, share: float, flips: list[float]
) -> None:
    data = bytearray(_encoded(name))
    # The last bytes are end marker and checksums: without them no pixel is missing.
    data = data[: int(share * (len(data) - 32))] if not flips else data
    for flip in flips:
        data[int(flip * (len(data) - 1))] ^= 0x55
    (tmp_path / "x").write_bytes(data)
    try:
        rgb = read_photograph(tmp_path / "x")
    except UnscorablePhotographError as error:
        assert error.rejection.detail
    else:
        assert flips, "a truncated picture was taken for a whole one"
        assert rgb.ndim == 3
