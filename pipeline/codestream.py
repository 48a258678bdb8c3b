"""What a compressed frame states about itself, read without decoding it: its size and its samples."""

from __future__ import annotations

import struct

_SOI = b"\xff\xd8"
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_SOC_SIZ = b"\xff\x4f\xff\x51"
_SOS = 0xDA
# Start of frame: SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81 table B.1), and SOF55 of JPEG-LS (T.87).
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


class DamagedCodestreamError(ValueError):
    """The codestream is cut off, or is none."""


def codestream_size(frame: bytes) -> tuple[int, int]:
    """Return (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 codestream, and make sure that it has an end.

    Raises DamagedCodestreamError.
    """
    try:
        if frame.startswith(_SOI):
            size, body = _jpeg_size(frame)
        else:
            size, body = _jpeg_2000_size(frame)
    except (struct.error, IndexError) as error:
        raise DamagedCodestreamError("the codestream is cut off in its header") from error
    if frame.rfind(_END) < body:
        raise DamagedCodestreamError("the codestream has no end")
    return size


def codestream_samples(frame: bytes) -> tuple[int, int]:
    """Return how many components there are, and how many bits the samples of the first one have.

    Only of a frame of which `codestream_size` tells the size.
    """
    if frame.startswith(_SOI):
        header, _ = _jpeg_headers(frame)
        return frame[header + 9], frame[header + 4]
    start = frame.find(_SOC_SIZ)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    return components, (frame[start + 42] & 0x7F) + 1


def is_subsampled(frame: bytes) -> bool:
    """Whether a JPEG has fewer samples of one component than of another: YCbCr has, never RGB.

    Only for one of which `codestream_size` tells the size.
    """
    header, _ = _jpeg_headers(frame)
    components = frame[header + 9]
    return len({frame[header + 11 + 3 * n] for n in range(components)}) > 1


def _jpeg_size(frame: bytes) -> tuple[tuple[int, int], int]:
    header, body = _jpeg_headers(frame)
    return struct.unpack_from(">HH", frame, header + 5), body


def _jpeg_headers(frame: bytes) -> tuple[int, int]:
    """Return where the frame header begins, and where the first scan's data does."""
    header, position = None, len(_SOI)
    while True:
        if frame[position] != 0xFF:
            raise DamagedCodestreamError("a marker was expected")
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker in _START_OF_FRAME:
            header = position
        position += 2 + length
        if marker == _SOS:
            if header is None:
                raise DamagedCodestreamError("the codestream has no frame header")
            return header, position


def _jpeg_2000_size(frame: bytes) -> tuple[tuple[int, int], int]:
    start = frame.find(_SOC_SIZ)  # not at 0 where a JP2 container is around it
    if start < 0:
        raise DamagedCodestreamError("the frame is neither JPEG nor JPEG 2000")
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return (bottom - top, right - left), start
