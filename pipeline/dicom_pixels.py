"""The pixels of a DICOM photograph as RGB: PS3.3 C.7.6.3 (Image Pixel Module), PS3.5 section 8, annex A."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from pipeline.codestream import DamagedCodestreamError, codestream_samples, codestream_size, is_subsampled
from pipeline.colour_profile import to_srgb
from pipeline.frame_size import check_frame_size
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

# Photometric Interpretation -> Samples per Pixel. The YBR kinds come out of the decoder as RGB.
_COLOUR = {
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
    "PALETTE COLOR": 1,
}
_ROWS_AT_A_TIME = 32
_MOST_STRETCH = 0.02  # of a pixel, above or below square: what a calibrated spacing may differ by


def rgb_from_dataset(ds: Dataset) -> NDArray[np.uint8]:
    """Return the single frame of `ds` as sRGB, (rows, columns, 3).

    `ds` must have its file meta information (the transfer syntax is read from it). Raises
    UnscorablePhotographError for anything that is not one readable colour frame of a usable size; its
    message and detail hold no attribute values besides sizes and the Photometric Interpretation's kind.
    """
    try:
        rows, columns = _check_description(ds)
        _check_codestream(ds, rows, columns)
        return _decoded(ds, rows, columns)
    except UnscorablePhotographError:
        raise
    except DamagedCodestreamError as error:
        raise _unreadable("The compressed picture is incomplete; send it again from its source.") from error
    except Exception as error:  # pydicom and its decoders raise nearly anything on damaged data
        raise _unreadable(
            "The pixel data cannot be decoded: it is damaged, incomplete, or does not match the attributes "
            "that describe it. Send it again from its source, or uncompressed."
        ) from error


def _check_description(ds: Dataset) -> tuple[int, int]:
    """Check what the attributes state and return (rows, columns)."""
    if "PixelData" not in ds or not ds["PixelData"].value:
        raise _unreadable("The object holds no picture; send the photograph itself.")
    rows, columns = int(ds.Rows), int(ds.Columns)
    if int(ds.get("NumberOfFrames") or 1) != 1:
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.NOT_A_SINGLE_FRAME,
                "The object holds several frames; send one photograph per object.",
                rows,
                columns,
            )
        )
    samples = _COLOUR.get(str(ds.PhotometricInterpretation))
    if samples is None:
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.UNSUPPORTED_COLOUR,
                "The photograph is greyscale, or its colours are coded in a way that is not read; "
                "send the colour photograph as RGB or YBR.",
                rows,
                columns,
            )
        )
    if int(ds.SamplesPerPixel) != samples or int(ds.BitsAllocated) not in (8, 16):
        raise _unreadable(
            "The attributes that describe the pixels contradict each other; send it again.", rows, columns
        )
    check_frame_size(rows, columns)
    if not _are_square(ds):
        raise _unreadable(
            "The pixels are not square, so that the face would be measured too wide or too long; "
            "send the photograph with square pixels.",
            rows,
            columns,
        )
    return rows, columns


def _are_square(ds: Dataset) -> bool:
    """Whether pixels are as high as they are wide, as far as anything usable is said of it."""
    for name in ("PixelAspectRatio", "PixelSpacing", "NominalScannedPixelSpacing"):
        with suppress(TypeError, ValueError):  # absent, or no two numbers
            high, wide = (float(value) for value in ds[name].value) if name in ds else (1.0, 1.0)
            if high > 0 and wide > 0 and abs(high - wide) > _MOST_STRETCH * wide:
                return False
    return True


def _check_codestream(ds: Dataset, rows: int, columns: int) -> None:
    """Compare what a compressed frame says of itself with the attributes.

    The decoders allocate what they find, and one ends the process where the samples are others.
    """
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if not syntax.is_compressed or not syntax.is_encapsulated or syntax == RLELossless:
        return
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    if codestream_size(frame) != (rows, columns):
        raise _unreadable(
            "The compressed picture has another size than Rows and Columns say; send it again.", rows, columns
        )
    components, bits = codestream_samples(frame)
    if components != int(ds.SamplesPerPixel):
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.UNSUPPORTED_COLOUR,
                "The compressed picture has other colours than its attributes say, greyscale or CMYK for "
                "instance; send the colour photograph as RGB or YBR.",
                rows,
                columns,
            )
        )
    if bits > int(ds.BitsAllocated):
        raise _unreadable(
            "The compressed picture has more bits a sample than its attributes say; send it again.",
            rows,
            columns,
        )


def _decoded(ds: Dataset, rows: int, columns: int) -> NDArray[np.uint8]:
    pixels = _decoded_pixels(ds)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = _through_palette(pixels, ds)
        bits = 16 if pixels.max(initial=0) > 0xFF else 8  # some write 8-bit tables as 16-bit entries
    else:
        bits = _bits(pixels, ds)
    if pixels.shape != (rows, columns, 3):
        raise _unreadable(
            "The decoded picture has another shape than its attributes say; send it again.", rows, columns
        )
    rgb = _to_8_bits(pixels, bits)
    profile = ds.get("ICCProfile")
    return to_srgb(rgb, profile) if isinstance(profile, bytes) and profile else rgb


def _through_palette(pixels: NDArray[np.integer], ds: Dataset) -> NDArray[np.unsignedinteger]:
    """Return the colours, (rows, columns, 3), that the palette has for pixels: PS3.3 C.7.6.3.1.5 and .6.

    pydicom's own takes tables for little endian and even in length, and pixels for no longer than entries.
    """
    if "RedPaletteColorLookupTableData" not in ds:
        segmented: NDArray[np.unsignedinteger] = apply_color_lut(pixels, ds)
        return segmented
    number, first, _ = ds.RedPaletteColorLookupTableDescriptor
    number = number or 1 << 16
    names = (f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
    palette = np.stack([_table(ds, name, number) for name in names], axis=1)
    values = np.arange(1 << 8 * pixels.dtype.itemsize).astype(pixels.dtype).astype(np.int64)
    colours = palette[np.clip(values - first, 0, number - 1)]
    # A negative value counts from the end, as `values` do.
    result: NDArray[np.unsignedinteger] = colours[pixels]
    return result


def _table(ds: Dataset, name: str, number: int) -> NDArray[np.unsignedinteger]:
    """Return a table's entries, of 8 or 16 bits; those of 8 lie in words, the first in the lower half."""
    kept = ds[name].value
    if isinstance(kept, bytes):
        words = np.frombuffer(kept, "<u2" if ds.file_meta.TransferSyntaxUID.is_little_endian else ">u2")
    else:  # numbers, as older versions of the standard had them
        words = np.array(kept, dtype=np.uint16)
    entries = words if len(words) >= number else words.astype("<u2").view(np.uint8)
    if len(entries) < number:
        raise ValueError("a table of the palette is too short")
    return entries[:number]


def _decoded_pixels(ds: Dataset) -> NDArray[np.integer]:
    """Return what pydicom decodes, YBR turned into RGB."""
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    decoder = get_decoder(syntax)
    options: dict[str, Any] = {"as_rgb": False}
    if syntax.is_encapsulated:  # the decoders say it where pixels come out otherwise; PS3.5 8.2.1, 8.2.4
        options["planar_configuration"] = 0
    if syntax in (JPEGLossless, JPEGLosslessSV1) and int(ds.BitsStored) < 8:
        options["decoding_plugin"] = "pylibjpeg"  # GDCM ends the process
    if syntax == JPEGBaseline8Bit:
        # Pillow gives the same pixels as gdcm, pydicom's first choice, in a quarter of its time
        # (24 megapixels: 0.2 s). What it will not take, the others may; it raises nearly anything then.
        with suppress(Exception):
            pixels, about = decoder.as_array(ds, decoding_plugin="pillow", **options)
            return pixels if _pillow_has_converted(ds) else _to_rgb(pixels, about, ds)
    return _to_rgb(*decoder.as_array(ds, **options), ds)


def _pillow_has_converted(ds: Dataset) -> bool:
    """Whether Pillow's pixels are RGB already, which pydicom does not tell: so where Adobe's marker is.

    Image editors write it, and what wraps their files as DICOM may keep it.
    """
    frame = BytesIO(get_frame(ds.PixelData, 0, number_of_frames=1))
    with Image.open(frame, formats=("JPEG",)) as picture:
        return "adobe_transform" in picture.info


def _to_rgb(pixels: NDArray[np.integer], about: Mapping[str, object], ds: Dataset) -> NDArray[np.integer]:
    """Convert YBR_FULL (PS3.3 C.7.6.3.1.2), which becomes RGB of as many bits as it has.

    By a few rows at a time; floats of all would fill the memory.
    """
    if about["photometric_interpretation"] not in ("YBR_FULL", "YBR_FULL_422") and not _is_ycbcr_jpeg(ds):
        return pixels
    rgb, bits = np.empty_like(pixels), _bits(pixels, ds)
    for row in range(0, len(pixels), _ROWS_AT_A_TIME):
        some = slice(row, row + _ROWS_AT_A_TIME)
        if bits == 8:
            rgb[some] = convert_color_space(pixels[some].astype(np.uint8), "YBR_FULL", "RGB")
        else:
            rgb[some] = _rgb_of(pixels[some], bits)
    return rgb


def _is_ycbcr_jpeg(ds: Dataset) -> bool:
    """Whether the frame is a JPEG with subsampled colours, which some, GDCM for one, call RGB."""
    if ds.file_meta.TransferSyntaxUID not in (JPEGBaseline8Bit, JPEGExtended12Bit):
        return False
    return is_subsampled(get_frame(ds.PixelData, 0, number_of_frames=1))


def _rgb_of(ybr: NDArray[np.integer], bits: int) -> NDArray[np.floating]:
    """Return the RGB, whole numbers, of YBR_FULL with so many bits, (rows, columns, 3)."""
    luma, blue, red = np.moveaxis(ybr.astype(np.float32), -1, 0)
    blue, red = 1.772 * (blue - 0.5 * (1 << bits)), 1.402 * (red - 0.5 * (1 << bits))
    green = (0.114 * blue + 0.299 * red) / 0.587
    rgb = np.stack((luma + red, luma - green, luma + blue), axis=-1)
    result: NDArray[np.floating] = np.clip(np.rint(rgb), 0, (1 << bits) - 1)
    return result


def _bits(pixels: NDArray[np.integer], ds: Dataset) -> int:
    """Return how many bits the decoded samples have."""
    return min(int(ds.BitsStored), 8 * pixels.dtype.itemsize)


def _to_8_bits(pixels: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return np.array(pixels, dtype=np.uint8, order="C")
    scaled = np.clip(pixels, 0, (1 << bits) - 1).astype(np.float32) * np.float32(255 / ((1 << bits) - 1))
    result: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return result


def _unreadable(
    detail: str, rows: int | None = None, columns: int | None = None
) -> UnscorablePhotographError:
    return UnscorablePhotographError(Rejection(RejectionReason.UNREADABLE_PIXELS, detail, rows, columns))
