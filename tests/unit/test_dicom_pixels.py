import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import convert_color_space, pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from pipeline.codestream import DamagedCodestreamError, codestream_samples, codestream_size, is_subsampled
from pipeline.photograph import read_photograph, rgb_from_dataset
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason
from tests.peers import run_tool
from tests.pictures import COLUMNS, ENCODED, ROWS, known_rgb, native_dataset, write_native

COMPRESSED = ["dcmtk baseline 422", "dcmtk lossless sv1", "dcmtk jpeg-ls", "gdcm jpeg 2000"]


def rejection_of(ds: Dataset) -> Rejection:
    with pytest.raises(UnscorablePhotographError) as caught:
        rgb_from_dataset(ds)
    for value in ("TEST", "PATIENT", str(ds.SOPInstanceUID)):
        assert value not in caught.value.rejection.detail
    return caught.value.rejection


def encoded_dataset(name: str, folder: Path) -> Dataset:
    encode, _ = ENCODED[name]
    return pydicom.dcmread(encode(folder))


@pytest.mark.parametrize("name", ENCODED)
def test_what_others_encoded_comes_back(tmp_path: Path, name: str) -> None:
    encode, tolerance = ENCODED[name]
    rgb = read_photograph(encode(tmp_path))
    assert rgb.shape == (ROWS, COLUMNS, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(np.int16) - known_rgb()).mean() <= tolerance


@pytest.mark.parametrize(
    "name", [name for name in ENCODED if "palette" not in name and name != "gdcm baseline"]
)
def test_pixels_are_exactly_pydicoms_own(tmp_path: Path, name: str) -> None:
    ds = encoded_dataset(name, tmp_path)
    np.testing.assert_array_equal(rgb_from_dataset(ds), pixel_array(ds))


def test_a_large_jpeg_is_decoded_without_floats_of_the_whole_picture(tmp_path: Path) -> None:
    Image.fromarray(known_rgb(1600, 2000)).save(tmp_path / "large.jpg", quality=90)
    run_tool("img2dcm", tmp_path / "large.jpg", tmp_path / "large.dcm")
    ds = pydicom.dcmread(tmp_path / "large.dcm")
    assert ds.PhotometricInterpretation.startswith("YBR")
    rgb_from_dataset(ds)  # imports are not to be counted
    tracemalloc.start()
    size = rgb_from_dataset(ds).nbytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * size  # measured: 3; 9 with the whole picture at once


def test_the_encoders_cover_what_they_should(tmp_path: Path) -> None:
    covered = set()
    for index, name in enumerate(ENCODED):
        folder = tmp_path / str(index)
        folder.mkdir()
        ds = encoded_dataset(name, folder)
        covered.add(
            (ds.PhotometricInterpretation, ds.get("PlanarConfiguration"), ds.file_meta.TransferSyntaxUID)
        )
    assert {"RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"} <= {
        photometric for photometric, _, _ in covered
    }
    assert {("RGB", 1), ("YBR_FULL", 1)} <= {(photometric, planar) for photometric, planar, _ in covered}
    assert len({syntax for _, _, syntax in covered}) >= 15


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("bits", "scale"), [(16, 257), (12, 16)])
def test_16_bits_are_scaled(planar: int, bits: int, scale: int) -> None:
    pixels = known_rgb().astype(np.uint16) * scale
    stored = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if planar else pixels
    rgb = rgb_from_dataset(native_dataset(stored, planar=planar, bits=bits))
    assert np.abs(rgb.astype(np.int16) - known_rgb()).max() <= 1


@pytest.mark.parametrize("bits", [6, 7])
def test_fewer_than_8_bits_are_scaled(bits: int) -> None:
    ds = native_dataset(known_rgb() >> (8 - bits), bits=bits)
    error = np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb())
    assert error.max() <= 255 >> bits


@pytest.mark.parametrize("options", [("dcmcjpeg", "+e1"), ("dcmcjpeg", "+el"), ("dcmcjpls",), ("dcmcrle",)])
def test_fewer_than_8_bits_without_loss(tmp_path: Path, options: tuple[str, ...]) -> None:
    """At JPEG Lossless GDCM ends the process."""
    write_native(tmp_path / "native.dcm", native_dataset(known_rgb() >> 1, bits=7))
    run_tool(*options, tmp_path / "native.dcm", tmp_path / "p.dcm")
    rgb = rgb_from_dataset(pydicom.dcmread(tmp_path / "p.dcm"))
    assert np.abs(rgb.astype(np.int16) - known_rgb()).max() <= 255 >> 7


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_ybr_of_16_bits_allocated(bits: int) -> None:
    ybr = _ybr_of(known_rgb(), bits)
    rgb = rgb_from_dataset(native_dataset(ybr, "YBR_FULL", bits=bits))
    assert np.abs(rgb.astype(np.int16) - known_rgb()).max() <= 2


def _ybr_of(rgb: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """PS3.3 C.7.6.3.1.2, full range with so many bits."""
    most, (red, green, blue) = (1 << bits) - 1, np.moveaxis(rgb / 255, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [
        0.5 * (1 << bits) + most * (blue - luma) / 1.772,
        0.5 * (1 << bits) + most * (red - luma) / 1.402,
    ]
    return np.rint(np.stack((most * luma, *chroma), axis=-1)).astype(np.uint16)


@pytest.mark.parametrize("options", [(), ("+s4",), ("+cr",)])
def test_jpeg_extended_of_12_bits(tmp_path: Path, options: tuple[str, ...]) -> None:
    """PS3.5 section 8.2.1: Process 4, with 12 bits stored; subsampled, YCbCr and RGB."""
    write_native(tmp_path / "native.dcm", native_dataset(known_rgb().astype(np.uint16) * 16, bits=12))
    run_tool("dcmcjpeg", "+ee", *options, tmp_path / "native.dcm", tmp_path / "p.dcm")
    ds = pydicom.dcmread(tmp_path / "p.dcm")
    assert (ds.BitsAllocated, ds.BitsStored) == (16, 12)
    assert np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb()).mean() < 1


def test_native_ybr_full_422() -> None:
    """PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr for each pair of pixels."""
    ybr = convert_color_space(known_rgb(), "RGB", "YBR_FULL")
    packed = np.stack((ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]), axis=-1)
    ds = native_dataset(known_rgb(), "YBR_FULL_422")
    ds.PixelData = packed.tobytes()
    assert np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb()).mean() < 1.5


@pytest.mark.parametrize(
    ("syntax", "order"),
    [(ExplicitVRLittleEndian, "<u2"), (ExplicitVRBigEndian, ">u2")],
    ids=["little", "big"],
)
@pytest.mark.parametrize("gain", [1, 257])
def test_palettes_of_16_bits(gain: int, syntax: UID, order: str) -> None:
    levels = np.arange(256, dtype=np.uint16)
    ds = native_dataset(known_rgb()[..., 0], "PALETTE COLOR")
    ds.file_meta.TransferSyntaxUID = syntax
    for colour, table in (("Red", levels), ("Green", levels[::-1]), ("Blue", levels // 2)):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", (table * gain).astype(order).tobytes())
    rgb = rgb_from_dataset(ds).astype(np.int16)
    index = known_rgb()[..., 0].astype(np.int16)
    expected = np.stack((index, 255 - index, index // 2), axis=-1)
    assert np.abs(rgb - expected).max() <= 1


@pytest.mark.parametrize("pixel_bits", [8, 16])
def test_values_beside_a_palette_take_its_first_and_its_last_entry(pixel_bits: int) -> None:
    """PS3.3 C.7.6.3.1.5; the palette's entries have 8 bits, the pixels may have 16."""
    index = known_rgb()[..., 0].astype(f"u{pixel_bits // 8}")
    ds = native_dataset(index, "PALETTE COLOR", bits=pixel_bits)
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [100, 60, 8])
        setattr(ds, f"{colour}PaletteColorLookupTableData", bytes(range(100, 200)))
    expected = np.clip(index.astype(np.int16) - 60, 0, 99) + 100
    assert index.min() < 60
    assert index.max() > 160
    np.testing.assert_array_equal(rgb_from_dataset(ds), np.repeat(expected[..., None], 3, axis=2))


def test_a_segmented_palette() -> None:
    """PS3.3 C.7.9.2: here two discrete segments of 128 entries each."""
    levels = bytes(range(256))
    ds = native_dataset(known_rgb()[..., 0], "PALETTE COLOR")
    for colour, table in (("Red", levels), ("Green", levels[::-1]), ("Blue", levels)):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        segments = bytes((0, 128)) + table[:128] + bytes((0, 128)) + table[128:]
        setattr(ds, f"Segmented{colour}PaletteColorLookupTableData", segments)
    index = known_rgb()[..., 0]
    np.testing.assert_array_equal(rgb_from_dataset(ds), np.stack((index, 255 - index, index), axis=-1))


@pytest.mark.parametrize("name", [*COMPRESSED, "dcmtk rle", "openjph", "dcmtk extended", "dcmtk lossless"])
def test_planar_configuration_says_nothing_of_what_is_compressed(tmp_path: Path, name: str) -> None:
    """PS3.5 sections 8.2.1 and 8.2.4; it may be left from what was compressed."""
    ds = encoded_dataset(name, tmp_path)
    expected = rgb_from_dataset(ds)
    ds.PlanarConfiguration = 1
    np.testing.assert_array_equal(rgb_from_dataset(ds), expected)


@pytest.mark.filterwarnings("ignore:.*JFIF.*:UserWarning")
def test_a_jpeg_wrongly_called_rgb_keeps_its_colours(tmp_path: Path) -> None:
    ds = encoded_dataset("dcmtk baseline 444", tmp_path)
    ds.PhotometricInterpretation = "RGB"
    assert b"JFIF" in ds.PixelData[:200]
    assert np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb()).mean() < 1


def test_a_subsampled_jpeg_is_ycbcr_although_it_is_called_rgb(tmp_path: Path) -> None:
    """So GDCM writes RGB, with no marker that says what it is."""
    ds = encoded_dataset("gdcm baseline", tmp_path)
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    assert ds.PhotometricInterpretation == "RGB"
    assert b"JFIF" not in frame
    assert b"Adobe" not in frame
    assert is_subsampled(frame)
    assert np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb()).mean() < 1
    folder = tmp_path / "whole"
    folder.mkdir()
    whole = encoded_dataset("dcmtk baseline rgb", folder)
    assert not is_subsampled(get_frame(whole.PixelData, 0, number_of_frames=1))


@pytest.mark.parametrize("options", [(), ("--keep-appn",)])
def test_a_jpeg_of_an_image_editor_keeps_its_colours(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Adobe's marker, which says YCbCr (1) as Photometric Interpretation does, makes Pillow convert."""
    Image.fromarray(known_rgb()).save(tmp_path / "p.jpg", quality=95)
    jpeg = (tmp_path / "p.jpg").read_bytes()
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    (tmp_path / "p.jpg").write_bytes(jpeg[:20] + marker + jpeg[20:])
    run_tool("img2dcm", *options, tmp_path / "p.jpg", tmp_path / "p.dcm")
    ds = pydicom.dcmread(tmp_path / "p.dcm")
    assert (b"Adobe" in ds.PixelData[:200]) is bool(options)
    assert np.abs(rgb_from_dataset(ds).astype(np.int16) - known_rgb()).mean() < 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_greyscale_is_rejected(photometric: str) -> None:
    rejection = rejection_of(native_dataset(known_rgb()[..., 0].copy(), photometric))
    assert rejection.reason is RejectionReason.UNSUPPORTED_COLOUR
    assert "greyscale" in rejection.detail
    assert (rejection.rows, rejection.columns) == (ROWS, COLUMNS)


def test_several_frames_are_rejected() -> None:
    ds = native_dataset(known_rgb())
    ds.NumberOfFrames = 2
    ds.PixelData *= 2
    assert rejection_of(ds).reason is RejectionReason.NOT_A_SINGLE_FRAME
    ds = native_dataset(known_rgb())
    ds.NumberOfFrames = 1
    assert rgb_from_dataset(ds).shape == (ROWS, COLUMNS, 3)


@pytest.mark.parametrize(
    ("keyword", "ratio"),
    [
        ("PixelAspectRatio", ["12", "11"]),
        ("PixelAspectRatio", ["3", "4"]),
        ("PixelSpacing", ["0.2", "0.25"]),
        ("NominalScannedPixelSpacing", ["0.25", "0.2"]),
    ],
)
def test_pixels_that_are_not_square_are_rejected(keyword: str, ratio: list[str]) -> None:
    """Read as square ones they would be a wider or a longer face."""
    ds = native_dataset(known_rgb())
    setattr(ds, keyword, ratio)
    rejection = rejection_of(ds)
    assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
    assert "square" in rejection.detail
    assert (rejection.rows, rejection.columns) == (ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("keyword", "ratio"),
    [
        ("PixelAspectRatio", ["1", "1"]),
        ("PixelAspectRatio", ["100", "101"]),
        ("PixelAspectRatio", ["0", "0"]),
        ("PixelAspectRatio", "1"),
        ("PixelAspectRatio", None),
        ("PixelSpacing", ["0.2001", "0.2"]),
        ("PixelSpacing", ["0.2", "-1"]),
    ],
)
def test_square_pixels_and_ratios_that_say_nothing_are_read(keyword: str, ratio: object) -> None:
    ds = native_dataset(known_rgb())
    setattr(ds, keyword, ratio)
    np.testing.assert_array_equal(rgb_from_dataset(ds), known_rgb())


def _without(keyword: str) -> Callable[[Dataset], None]:
    return lambda ds: delattr(ds, keyword)


def _with(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


DAMAGES: dict[str, Callable[[Dataset], None]] = {
    "no pixels": _without("PixelData"),
    "empty pixels": _with("PixelData", b""),
    "no rows": _without("Rows"),
    "no photometric interpretation": _without("PhotometricInterpretation"),
    "no transfer syntax": lambda ds: delattr(ds.file_meta, "TransferSyntaxUID"),
    "unknown transfer syntax": lambda ds: setattr(ds.file_meta, "TransferSyntaxUID", "1.2.3.4"),
    "video": lambda ds: setattr(ds.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.4.102"),
    "too few bytes": lambda ds: setattr(ds, "PixelData", ds.PixelData[:-1000]),
    "more rows than bytes": _with("Rows", 2 * ROWS),
    "no rows at all": _with("Rows", 0),
    "huge": lambda ds: (setattr(ds, "Rows", 65535), setattr(ds, "Columns", 65535)),  # type: ignore[func-returns-value]
    "one sample": _with("SamplesPerPixel", 1),
    "four samples": _with("SamplesPerPixel", 4),
    "one bit": _with("BitsAllocated", 1),
    "more bits stored than allocated": _with("BitsStored", 12),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_pixels_that_cannot_be_read_are_rejected(damage: str) -> None:
    ds = native_dataset(known_rgb())
    DAMAGES[damage](ds)
    rejection = rejection_of(ds)
    assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
    assert "send" in rejection.detail.lower(), "a rejection says what to do (send ...)"


def test_a_small_photograph_is_rejected() -> None:
    rejection = rejection_of(native_dataset(known_rgb(300, 250)))
    assert rejection.reason is RejectionReason.FACE_TOO_SMALL
    assert (rejection.rows, rejection.columns) == (300, 250)


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_codestream_states_its_size(tmp_path: Path, name: str) -> None:
    frame = get_frame(encoded_dataset(name, tmp_path).PixelData, 0, number_of_frames=1)
    assert codestream_size(frame) == (ROWS, COLUMNS)
    for size in range(0, len(frame) - 4, 97):
        with pytest.raises(DamagedCodestreamError):
            codestream_size(frame[:size])


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_cut_codestream_in_a_whole_object_is_rejected(tmp_path: Path, name: str) -> None:
    ds = encoded_dataset(name, tmp_path)
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    rejection = rejection_of(ds)
    assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
    assert "incomplete" in rejection.detail


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_codestream_of_another_size_is_never_decoded(tmp_path: Path, name: str) -> None:
    ds = encoded_dataset(name, tmp_path)
    ds.Rows = ROWS - 1
    rejection = rejection_of(ds)
    assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
    assert "another size" in rejection.detail


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_codestream_states_its_samples(tmp_path: Path, name: str) -> None:
    frame = get_frame(encoded_dataset(name, tmp_path).PixelData, 0, number_of_frames=1)
    assert codestream_samples(frame) == (3, 8)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
def test_a_jpeg_of_other_than_three_colours_is_never_decoded(mode: str, syntax: UID) -> None:
    """At four GDCM ends the process."""
    jpeg = BytesIO()
    Image.fromarray(known_rgb()).convert(mode).save(jpeg, "JPEG")
    ds = native_dataset(known_rgb(), "YBR_FULL_422")
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([jpeg.getvalue()])
    rejection = rejection_of(ds)
    assert rejection.reason is RejectionReason.UNSUPPORTED_COLOUR
    assert "CMYK" in rejection.detail


def test_samples_of_more_bits_than_are_allocated_are_never_decoded(tmp_path: Path) -> None:
    """At JPEG Lossless GDCM ends the process; JPEG Extended came out as noise."""
    for option in ("+ee", "+e1"):
        write_native(tmp_path / "native.dcm", native_dataset(known_rgb().astype(np.uint16) * 16, bits=12))
        run_tool("dcmcjpeg", option, tmp_path / "native.dcm", tmp_path / "p.dcm")
        ds = pydicom.dcmread(tmp_path / "p.dcm")
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        rejection = rejection_of(ds)
        assert rejection.reason is RejectionReason.UNREADABLE_PIXELS
        assert "more bits" in rejection.detail


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    contents = {
        "native": write_native(
            tmp_path_factory.mktemp("n") / "n.dcm", native_dataset(known_rgb())
        ).read_bytes()
    }
    for name in (*COMPRESSED, "dcmtk rle", "dcmtk palette 8"):
        contents[name] = ENCODED[name][0](tmp_path_factory.mktemp("e")).read_bytes()
    return contents


@pytest.mark.filterwarnings("ignore")  # pydicom warns of much that is damaged; what counts is what comes back
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_only_ever_raise_a_rejection(
    files: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    contents = bytearray(files[data.draw(st.sampled_from(sorted(files)))])
    cut = data.draw(st.booleans())
    if cut:
        contents = contents[: data.draw(st.integers(0, len(contents) - 200))]
    else:
        reach = data.draw(st.sampled_from([1500, len(contents) - 1]))
        for _ in range(data.draw(st.integers(1, 6))):
            contents[data.draw(st.integers(132, reach))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.dcm").write_bytes(contents)
    try:
        rgb = read_photograph(tmp_path / "x.dcm")
    except UnscorablePhotographError as error:
        assert error.rejection.detail
    else:
        assert not cut, "a truncated file was taken for a whole one"
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3
