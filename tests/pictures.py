"""A known picture, and DICOM files of it that other people's encoders wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    VLPhotographicImageStorage,
    generate_uid,
)

from tests.peers import run_tool

Rgb = NDArray[np.uint8]
ROWS, COLUMNS = 272, 320


def known_rgb(rows: int = ROWS, columns: int = COLUMNS) -> Rgb:
    """Smooth enough for subsampled chroma, with no symmetry that would hide a swap of axes or channels."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    red = 40 + 180 * x / columns
    green = 60 + 120 * y / rows
    blue = 120 + 90 * np.sin(3 * x / columns) * np.cos(2 * y / rows)
    rgb = np.stack((red, green, blue), axis=-1)
    spot = np.exp(-((x - 0.3 * columns) ** 2 + (y - 0.6 * rows) ** 2) / (2 * 30**2))
    rgb[..., 0] += 30 * spot
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def native_dataset(
    pixels: NDArray[np.unsignedinteger], photometric: str = "RGB", *, planar: int = 0, bits: int = 8
) -> Dataset:
    """An uncompressed photograph of a test patient; pixels as they shall lie in Pixel Data."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = VLPhotographicImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.Modality = "TEST^PATIENT", "TEST-PIXELS", "XC"
    ds.StudyID = ds.SeriesNumber = ds.InstanceNumber = "1"
    ds.PhotometricInterpretation = photometric
    ds.SamplesPerPixel = 1 if photometric.startswith(("MONO", "PALETTE")) else 3
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = planar
    ds.Rows, ds.Columns = pixels.shape[-2:] if planar or ds.SamplesPerPixel == 1 else pixels.shape[:2]
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    return ds


def write_native(path: Path, ds: Dataset) -> Path:
    """Write `ds` as a DICOM file and return its path."""
    ds.save_as(path, enforce_file_format=True)
    return path


def native_rgb_file(folder: Path) -> Path:
    """The known picture, uncompressed RGB."""
    return write_native(folder / "native.dcm", native_dataset(known_rgb()))


def _by_tool(tool: str, *options: str) -> Callable[[Path], Path]:
    def encode(folder: Path) -> Path:
        run_tool(tool, *options, native_rgb_file(folder), folder / "encoded.dcm")
        return folder / "encoded.dcm"

    return encode


def _recoded(before: Callable[[Path], Path], tool: str, *options: str) -> Callable[[Path], Path]:
    def encode(folder: Path) -> Path:
        run_tool(tool, *options, before(folder), folder / "recoded.dcm")
        return folder / "recoded.dcm"

    return encode


def _by_gdcm(syntax: int) -> Callable[[Path], Path]:
    def encode(folder: Path) -> Path:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(native_rgb_file(folder)))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(folder / "encoded.dcm"))
        assert writer.Write()
        return folder / "encoded.dcm"

    return encode


def _by_img2dcm(quality: int, subsampling: str, *options: str) -> Callable[[Path], Path]:
    def encode(folder: Path) -> Path:
        Image.fromarray(known_rgb()).save(folder / "p.jpg", quality=quality, subsampling=subsampling)
        run_tool("img2dcm", *options, folder / "p.jpg", folder / "encoded.dcm")
        return folder / "encoded.dcm"

    return encode


def _by_openjph(syntax: str, *options: str) -> Callable[[Path], Path]:
    """HTJ2K (ITU-T T.814), which DCMTK and GDCM do not write: OpenJPH's codestream in an object around it."""

    def encode(folder: Path) -> Path:
        Image.fromarray(known_rgb()).save(folder / "p.ppm")
        run_tool("ojph_compress", "-i", folder / "p.ppm", "-o", folder / "p.j2c", *options)
        ds = native_dataset(known_rgb())
        ds.PixelData = encapsulate([(folder / "p.j2c").read_bytes()])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
        reversible = "-reversible" in options and options[options.index("-reversible") + 1] == "true"
        ds.PhotometricInterpretation = "YBR_RCT" if reversible else "YBR_ICT"
        return write_native(folder / "encoded.dcm", ds)

    return encode


# Encoder -> (how, largest mean absolute error in grey levels that it may cause).
ENCODED: Mapping[str, tuple[Callable[[Path], Path], float]] = {
    "dcmtk implicit": (_by_tool("dcmconv", "+ti"), 0.0),
    "dcmtk big endian": (_by_tool("dcmconv", "+tb"), 0.0),
    "dcmtk deflated": (_by_tool("dcmconv", "+td"), 0.0),
    "dcmtk baseline 422": (_by_tool("dcmcjpeg", "+eb"), 1.0),
    "dcmtk baseline 444": (_by_tool("dcmcjpeg", "+eb", "+s4"), 1.0),
    "dcmtk baseline rgb": (_by_tool("dcmcjpeg", "+eb", "+cr"), 1.0),
    "dcmtk extended": (_by_tool("dcmcjpeg", "+ee"), 1.0),
    "dcmtk lossless sv1": (_by_tool("dcmcjpeg", "+e1"), 0.0),
    "dcmtk lossless": (_by_tool("dcmcjpeg", "+el"), 0.0),
    "dcmtk jpeg-ls": (_by_tool("dcmcjpls"), 0.0),
    "dcmtk jpeg-ls near": (_by_tool("dcmcjpls", "+en"), 2.0),
    "dcmtk rle": (_by_tool("dcmcrle"), 0.0),
    "dcmtk palette 8": (_by_tool("dcmquant", "+pc", "256"), 3.0),
    "dcmtk palette 16": (_by_tool("dcmquant", "+pw"), 3.0),
    "dcmtk palette of 255": (_by_tool("dcmquant", "+pc", "255"), 3.0),
    "dcmtk palette of 300": (_by_tool("dcmquant", "+pf", "+pc", "300"), 3.0),
    "dcmtk palette 8 big endian": (_recoded(_by_tool("dcmquant", "+pf"), "dcmconv", "+tb"), 3.0),
    "dcmtk palette of numbers": (_by_tool("dcmquant", "+pu"), 3.0),
    "dcmtk palette rle": (_recoded(_by_tool("dcmquant"), "dcmcrle"), 3.0),
    "dcmtk ybr_full native": (_recoded(_by_tool("dcmcjpeg", "+eb", "+s4"), "dcmdjpeg", "+cn"), 1.0),
    "dcmtk ybr_full planar": (_recoded(_by_tool("dcmcjpeg", "+eb", "+s4"), "dcmdjpeg", "+cn", "+pl"), 1.0),
    "dcmtk rgb planar": (_recoded(_by_tool("dcmcjpeg", "+e1"), "dcmdjpeg", "+pl"), 0.0),
    "gdcm rle": (_by_gdcm(gdcm.TransferSyntax.RLELossless), 0.0),
    "gdcm baseline": (_by_gdcm(gdcm.TransferSyntax.JPEGBaselineProcess1), 1.0),
    "gdcm lossless": (_by_gdcm(gdcm.TransferSyntax.JPEGLosslessProcess14_1), 0.0),
    "gdcm jpeg-ls": (_by_gdcm(gdcm.TransferSyntax.JPEGLSLossless), 0.0),
    "gdcm jpeg 2000 lossless": (_by_gdcm(gdcm.TransferSyntax.JPEG2000Lossless), 0.0),
    "gdcm jpeg 2000": (_by_gdcm(gdcm.TransferSyntax.JPEG2000), 1.0),
    "openjph lossless": (_by_openjph(HTJ2KLossless, "-reversible", "true", "-prog_order", "LRCP"), 0.0),
    "openjph lossless rpcl": (_by_openjph(HTJ2KLosslessRPCL, "-reversible", "true"), 0.0),
    "openjph": (_by_openjph(HTJ2K, "-qstep", "0.002"), 1.0),
    "img2dcm 444": (_by_img2dcm(95, "4:4:4"), 1.0),
    "img2dcm 420": (_by_img2dcm(95, "4:2:0"), 1.0),
    "img2dcm 420 photographic, APPn kept": (_by_img2dcm(95, "4:2:0", "-vlp", "-ka"), 1.0),
}
