"""Hostile input for the receiver: cases by number, the same for the same seed, as bytes on a socket."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)
from pynetdicom.dsutils import encode
from pynetdicom.presentation import build_context

from tests.association_request import association_request
from tests.receiving import photograph

VERIFICATION = "1.2.840.10008.1.1"
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
)
# Presentation context IDs are odd: verification has 1, then a storage context for each syntax.
_CONTEXTS = {syntax: 3 + 2 * n for n, syntax in enumerate(SYNTAXES)}
# Longer than any time limit of the receiver's: what takes so long hangs.
_ANSWER_SECONDS = 90.0

REQUEST = association_request(
    [
        build_context(VERIFICATION),
        *(build_context(SecondaryCaptureImageStorage, syntax) for syntax in SYNTAXES),
    ]
)
_GOOD = photograph()


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent: before an association or, with `associate`, on one; `kind` names the idea."""

    kind: str
    content: bytes
    associate: bool = True


def case(seed: int, number: int) -> Case:
    """Return case `number` of a seed."""
    random = Random(f"{seed}-{number}")
    make = random.choices(_KINDS, weights=[weight for _, weight in _WEIGHTED])[0]
    return make(random)


def attack(port: int, attacked: Case) -> str:
    """Send a case and return how it ended: answered, closed or refused. Raises TimeoutError for a hang."""
    with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS) as client:
        try:
            if attacked.associate:
                client.sendall(REQUEST)
                if client.recv(1) != b"\x02":
                    return "refused"
            client.sendall(attacked.content)
            client.shutdown(socket.SHUT_WR)
            received = 0
            while part := client.recv(65536):
                received += len(part)
        except TimeoutError:
            raise
        except OSError:  # the node was quicker
            return "closed"
    return "answered" if received else "closed"


def element(group: int, number: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """Return an element in Explicit VR Little Endian, whose length may lie."""
    size = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, size & 0xFFFFFFFF) + value
    return struct.pack("<HH2sH", group, number, vr, size & 0xFFFF) + value


def _implicit(group: int, number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


def command(
    *,
    sop_class: bytes,
    sop_instance: bytes,
    field: int = 1,
    group_length: int | None = None,
    data_set: int = 1,
) -> bytes:
    """Return a command set (PS3.7 E): C-STORE-RQ unless another `field` is given."""
    body = b"".join(
        (
            _implicit(0, 2, _even(sop_class)),
            _implicit(0, 0x100, struct.pack("<H", field)),
            _implicit(0, 0x110, struct.pack("<H", 7)),
            _implicit(0, 0x700, struct.pack("<H", 0)),
            _implicit(0, 0x800, struct.pack("<H", data_set if data_set != 1 else 0)),
            _implicit(0, 0x1000, _even(sop_instance)),
        )
    )
    length = len(body) if group_length is None else group_length
    return _implicit(0, 0, struct.pack("<I", length & 0xFFFFFFFF)) + body


def p_data(context: int, header: int, content: bytes, *, pdv_length: int | None = None) -> bytes:
    """Return one P-DATA-TF PDU with one fragment, whose inner length may lie."""
    size = len(content) + 2 if pdv_length is None else pdv_length
    item = struct.pack(">IBB", size & 0xFFFFFFFF, context & 0xFF, header & 0xFF) + content
    return struct.pack(">BBI", 4, 0, len(item)) + item


def store(
    data_set: bytes,
    *,
    syntax: str = ExplicitVRLittleEndian,
    sop_class: bytes = SecondaryCaptureImageStorage.encode(),
    sop_instance: bytes = b"1.2.3",
) -> bytes:
    """Return a whole C-STORE request in PDUs of 16 KB."""
    context = _CONTEXTS[syntax]
    sent = [p_data(context, 3, command(sop_class=sop_class, sop_instance=sop_instance))]
    parts = [data_set[start : start + 16000] for start in range(0, len(data_set), 16000)] or [b""]
    sent += [p_data(context, 0, part) for part in parts[:-1]]
    return b"".join([*sent, p_data(context, 2, parts[-1])])


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _uid(random: Random) -> str:
    return f"1.2.826.0.1.3680043.9.7.{random.getrandbits(60)}"


def _good(random: Random, **attributes: object) -> tuple[bytes, bytes]:
    """Return a photograph's data set in Explicit VR Little Endian and its SOP Instance UID."""
    dataset = photograph(
        SOPInstanceUID=_uid(random),
        StudyInstanceUID=_uid(random),
        SeriesInstanceUID=_uid(random),
        **attributes,
    )
    encoded = encode(dataset, False, True)
    assert isinstance(encoded, bytes)
    return encoded, dataset.SOPInstanceUID.encode()


def _mutated(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        place = random.randrange(len(changed))
        action = random.randrange(4)
        if action == 0:
            changed[place] = random.randrange(256)
        elif action == 1:
            changed[place : place + random.randint(1, 16)] = random.randbytes(random.randint(0, 16))
        elif action == 2:
            changed[place : place + 4] = random.choice(
                (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
            )
        else:
            del changed[place : place + random.randint(1, 40)]
        if not changed:
            return b"\0"
    return bytes(changed)


def _noise(random: Random) -> Case:
    return Case("noise", random.randbytes(random.randint(1, 400)), associate=random.random() < 0.5)


def _broken_request(random: Random) -> Case:
    return Case("association request mutated", _mutated(random, REQUEST), associate=False)


def _lying_pdu(random: Random) -> Case:
    content = random.randbytes(random.randint(0, 100))
    length = random.choice((0, 1, 5, len(content) + random.randint(1, 9), 2**31, 2**32 - 1, 131072, 132097))
    header = struct.pack(">BBI", random.randint(1, 8), 0, length)
    return Case("length of a PDU", header + content, associate=random.random() < 0.7)


def _broken_fragment(random: Random) -> Case:
    message = store(*[_good(random)[0]])
    if random.random() < 0.5:
        return Case("fragments mutated", _mutated(random, message))
    content = random.randbytes(random.randint(0, 60))
    length = random.choice((0, 1, 2, len(content), len(content) + 3, 2**32 - 1, 2**31))
    fragment = p_data(random.randrange(256), random.randrange(256), content, pdv_length=length)
    return Case("length of a fragment", fragment * random.randint(1, 3))


def _broken_command(random: Random) -> Case:
    good, uid = _good(random)
    text = command(sop_class=SecondaryCaptureImageStorage.encode(), sop_instance=uid)
    return Case("command set mutated", p_data(3, 3, _mutated(random, text)) + p_data(3, 2, good))


def _other_command(random: Random) -> Case:
    field = random.choice(
        (0x0020, 0x0021, 0x0010, 0x0030, 0x0100, 0x0110, 0x0130, 0x0140, 0x8001, 0x0FFF, 0xFFFF)
    )
    text = command(
        sop_class=random.choice((SecondaryCaptureImageStorage.encode(), VERIFICATION.encode(), b"1.2", b"")),
        sop_instance=b"1.2.3",
        field=field,
        data_set=random.choice((1, 0x0101)),
    )
    return Case("another command", p_data(random.choice((1, 3)), 3, text) + p_data(3, 2, b""))


def _truncated(random: Random) -> Case:
    good, uid = _good(random)
    return Case("data set truncated", store(good[: random.randrange(len(good))], sop_instance=uid))


def _mutated_data(random: Random) -> Case:
    good, uid = _good(random)
    head = random.choice((len(good), 400))
    return Case("data set mutated", store(_mutated(random, good[:head]) + good[head:], sop_instance=uid))


def _lying_length(random: Random) -> Case:
    good, uid = _good(random)
    lie = random.choice((0xFFFF, 0xFFFE, 1, 3, 40000))
    tail = element(0x0010, 0x4000, b"LT", b"x" * random.randint(0, 40), length=lie)
    big = element(
        0x7FE0, 0x0010, random.choice((b"OW", b"OB", b"SQ", b"UN")), b"", length=random.getrandbits(32)
    )
    return Case("length of an element", store(good + tail + big, sop_instance=uid))


def _group_length(random: Random) -> Case:
    good, uid = _good(random)
    wrong = element(8, 0, b"UL", struct.pack("<I", random.getrandbits(32)))
    text = command(
        sop_class=SecondaryCaptureImageStorage.encode(), sop_instance=uid, group_length=random.getrandbits(32)
    )
    if random.random() < 0.5:
        return Case("group length", p_data(3, 3, text) + p_data(3, 2, good))
    return Case("group length", store(wrong + good, sop_instance=uid))


def _deep(random: Random) -> Case:
    depth = random.choice((10, 100, 500, 1500, 5000))
    good, uid = _good(random)
    if random.random() < 0.5:
        opening = element(
            0x0040, 0xA730, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), length=0xFFFFFFFF
        )
        nested = opening * depth
    else:
        nested = b""
        for _ in range(min(depth, 1500)):
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
            nested = element(0x0040, 0xA730, b"SQ", item)
    at_front = random.random() < 0.5
    return Case("deep sequences", store(nested + good if at_front else good + nested, sop_instance=uid))


def _bomb(random: Random) -> Case:
    good, uid = _good(random)
    megabytes = random.choice((1, 8, 32, 300))
    squeezer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(2**20)
    body = [squeezer.compress(good[: good.rfind(b"\xe0\x7f\x10\x00")])]
    body.append(squeezer.compress(element(0x7FE0, 0x0010, b"OW", b"", length=megabytes * 2**20)))
    body += [squeezer.compress(zeros) for _ in range(megabytes)]
    content = b"".join([*body, squeezer.flush()])
    if random.random() < 0.3:
        content = _mutated(random, content)
    return Case("deflated bomb", store(content, syntax=DeflatedExplicitVRLittleEndian, sop_instance=uid))


def _dimensions(random: Random) -> Case:
    huge: dict[str, object] = {
        "Rows": random.choice((0, 1, 65535)),
        "Columns": random.choice((0, 1, 65535)),
        "SamplesPerPixel": random.choice((0, 1, 3, 65535)),
        "BitsAllocated": random.choice((0, 1, 8, 16, 65535)),
        "NumberOfFrames": random.choice((-1, 0, 1, 2**31 - 1)),
    }
    good, uid = _good(random, **huge)
    return Case("huge dimensions", store(good, sop_instance=uid))


_PATHS = (
    b"../../../../tmp/facenorm-was-here", b"/etc/facenorm-was-here", b"..", b".", b"1.2/../../3", b"1.2\0.3",
    b"~root", b"1.2.3\\4", b"1..2", b"1.02", b"\xff\xfe", b"1." * 40, b"$(touch x)", b"con", b" ", b"-rf",
)  # fmt: skip


def _paths(random: Random) -> Case:
    good, uid = _good(random)
    path = random.choice(_PATHS)
    changed = good.replace(_even(uid), _even(path)) if random.random() < 0.7 else good
    tag = element(8, 0x18, b"UI", _even(uid))
    changed = good.replace(tag, element(8, 0x18, b"UI", _even(path))) if random.random() < 0.5 else changed
    return Case("path in a UID", store(changed, sop_instance=random.choice((path, uid))))


def _duplicate(random: Random) -> Case:
    shared = random.randrange(3)
    dataset = photograph(
        SOPInstanceUID=f"1.2.826.0.1.3680043.9.7.1.{shared}",
        StudyInstanceUID=f"1.2.826.0.1.3680043.9.7.2.{random.randrange(2)}",
        PatientID=f"TEST-{random.randrange(4)}",
        StudyDescription=str(random.randrange(1000)),
    )
    encoded = encode(dataset, False, True)
    assert isinstance(encoded, bytes)
    return Case("same UID, other content", store(encoded, sop_instance=dataset.SOPInstanceUID.encode()))


def _wrong_syntax(random: Random) -> Case:
    good, uid = _good(random)
    return Case(
        "another syntax than agreed", store(good, syntax=random.choice(SYNTAXES[1:]), sop_instance=uid)
    )


def _endless(random: Random) -> Case:
    """Fragments of a command or a data set that never ends."""
    header = random.choice((0, 1))
    return Case("message without an end", p_data(3, header, bytes(16000)) * random.randint(1, 40))


_WEIGHTED: Sequence[tuple[Callable[[Random], Case], int]] = (
    (_noise, 8),
    (_broken_request, 10),
    (_lying_pdu, 10),
    (_broken_fragment, 10),
    (_broken_command, 8),
    (_other_command, 6),
    (_truncated, 8),
    (_mutated_data, 12),
    (_lying_length, 6),
    (_group_length, 5),
    (_deep, 4),
    (_bomb, 1),
    (_dimensions, 5),
    (_paths, 6),
    (_duplicate, 5),
    (_wrong_syntax, 5),
    (_endless, 2),
)
_KINDS = [make for make, _ in _WEIGHTED]
