"""The tables of the settings file: which keys there are, what they may hold, and the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from pipeline.quality_thresholds import QualityThresholds
from reports.options import ImageClass, ReportClass, ReportOptions, ResultObject
from storage.objects import bucket_and_prefix


def _printable(title: str) -> str:
    # PS3.5 section 6.2: AE excludes backslash and control characters.
    if "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def _host(host: str) -> str:
    try:
        host.encode("idna")  # as whoever looks it up does, and fails there
    except UnicodeError:
        usable = False
    else:
        # One colon is a port's: an address of version 6 has two or more.
        usable = host.isprintable() and not set(" /[]") & set(host) and host.count(":") != 1
    if not usable:
        raise ValueError("write the name or the address of a host, without a port or brackets")
    return host


def _folder(path: object) -> object:
    # A path would take it for the working directory, which would then be closed to everybody else.
    if isinstance(path, str) and not path.strip():
        raise ValueError("write the path of a folder")
    return path


def _bucket_url(url: str) -> str:
    if url:
        bucket_and_prefix(url)
    return url


def _database_url(url: str) -> str:
    # The URL holds a password: say nothing of it.
    if url and not (re.match(r"(postgresql|sqlite)(\+[a-z]+)?:", url) and _is_url(url)):
        raise ValueError(
            "write postgresql://USER:PASSWORD@HOST/DATABASE, an '@' in the password as %40, or leave it "
            "empty for SQLite"
        )
    if url.startswith("sqlite") and re.search(r":///?(:memory:)?$", url):
        raise ValueError("write sqlite:////FOLDER/FILE, or leave it empty: memory is not shared and not kept")
    return url


def _is_url(url: str) -> bool:
    try:
        make_url(url)
    except (ArgumentError, ValueError):  # the second for a port that is no number
        return False
    return True


def _token(token: str) -> str:
    if token and not (len(token) >= 16 and token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("write 16 characters or more, ASCII without blanks, or leave it empty")
    return token


def _device(device: str) -> str:
    # A node would take any other for a GPU that is not there, and go on with the CPU.
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", device):
        raise ValueError("write auto, cpu, cuda or cuda:1")
    return device


def _endpoint(url: str) -> str:
    if url and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", url):
        raise ValueError(
            "write https://HOST or https://HOST:PORT without a path, or leave it empty for Amazon"
        )
    return url


AETitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=16),
    AfterValidator(_printable),
]
Host = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_host)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
PeerPort = Annotated[int, Field(ge=1, le=65535)]
# Much more, and the system's waiting and the calendar's reckoning take it no longer.
_LONGEST_SECONDS = 14 * 86_400.0
Seconds = Annotated[float, Field(gt=0, le=_LONGEST_SECONDS)]
Days = Annotated[int, Field(ge=0, le=36_500)]
# A file of a secret may end in a line break.
Stripped = StringConstraints(strip_whitespace=True)
Degrees = Annotated[float, Field(ge=0, le=180)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of the file, or one entry of a list of tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Node(Section):
    """The receiving DICOM application. Port 0 lets the system choose one."""

    ae_title: AETitle = "FACENORM"
    host: Host = "127.0.0.1"
    port: ListenPort = 11112
    tls: bool = False
    # Each connection takes two descriptors, connections may be twice as many, and pynetdicom's `select` takes
    # none beyond 1024.
    maximum_associations: Annotated[int, Field(ge=1, le=200)] = 10
    # A photograph of 80 megapixels, uncompressed.
    maximum_object_megabytes: Annotated[int, Field(ge=1)] = 256
    acse_timeout_seconds: Seconds = 30.0
    dimse_timeout_seconds: Seconds = 60.0
    network_timeout_seconds: Seconds = 60.0
    object_timeout_seconds: Seconds = 900.0


class Tls(Section):
    """Our certificate and key, and whom we trust: PEM files. Needed where some `tls` is true."""

    certificate: str = ""
    private_key: str = ""
    trusted: str = ""
    # Whether a destination's certificate must name the host that it is called at.
    verify_host: bool = True


class Data(Section):
    """Where everything is kept. A relative folder counts from the working directory.

    files_url: empty, or `s3://bucket/prefix` for the files. Credentials come from the environment only.
    """

    folder: Annotated[Path, BeforeValidator(_folder)] = Path("facenorm-data")
    database_url: Annotated[str, Stripped, AfterValidator(_database_url)] = ""
    files_url: Annotated[str, Stripped, AfterValidator(_bucket_url)] = ""
    files_endpoint: Annotated[str, AfterValidator(_endpoint)] = ""
    files_region: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    # Of one request, which is tried three times; a photograph must be through by then.
    files_timeout_seconds: Annotated[float, Field(gt=0, le=100)] = 20.0
    # Copies of what was read from object storage.
    cache_megabytes: Annotated[int, Field(ge=1)] = 2000
    # Below this much free space, photographs are refused with 0xA700 until there is room again.
    minimum_free_megabytes: Annotated[int, Field(ge=0)] = 500


class Trigger(Section):
    """When a study is scored: nothing has come for this long."""

    quiet_seconds: Annotated[float, Field(ge=0, le=_LONGEST_SECONDS)] = 10.0
    # Studies of one sender, and of today or not, that wait in the queue at a time; 0: any number.
    most_waiting_per_sender: Annotated[int, Field(ge=0)] = 50


class Scoring(Section):
    """How photographs are scored. An empty `regressor` is the one that belongs to the generator.

    batch: how many photographs are normalized together; 0: as many as the device gains from, one on a CPU.
    on_device_fault: what follows when a GPU is lost, or has no memory for a single photograph.
    """

    profile: Literal["fast", "reference", "paper"] = "fast"
    device: Annotated[str, AfterValidator(_device)] = "auto"
    generator: Annotated[str, Field(min_length=1)] = "mobilestylegan-ffhq"
    regressor: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    batch: Annotated[int, Field(ge=0, le=64)] = 0
    on_device_fault: Literal["cpu", "hand_back"] = "cpu"
    # For one photograph; then the scoring process is ended and the photograph tried again.
    timeout_seconds: Seconds = 3600.0


class Workers(Section):
    """How workers that share a PostgreSQL database are told from such as have gone."""

    beat_seconds: Seconds = 5.0
    # The work of a worker that was silent for so long is handed to another.
    gone_seconds: Seconds = 30.0

    @model_validator(mode="after")
    def _some_beats_may_be_late(self) -> Self:
        if self.gone_seconds < 3 * self.beat_seconds:
            raise ValueError("gone_seconds must be three times beat_seconds or more")
        return self


class Quality(Section):
    """From where on a photograph is scored with a warning, and from where on it is rejected."""

    minimum_face_pixels: Annotated[int, Field(ge=1)] = 200
    recommended_face_pixels: Annotated[int, Field(ge=1)] = 350
    warned_yaw_degrees: Degrees = 15.0
    rejected_yaw_degrees: Degrees = 40.0
    warned_pitch_degrees: Degrees = 20.0
    rejected_pitch_degrees: Degrees = 40.0
    warned_roll_degrees: Degrees = 30.0
    warned_rival: Share = 0.3
    # Finite, for it goes into what names a score's setup, and JSON knows no other number.
    rejected_rival: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.7
    warned_share_outside: Share = 0.02
    rejected_share_outside: Share = 0.2
    warned_sharpness: Share = 0.2
    rejected_sharpness: Share = 0.08
    warned_clipped_share: Share = 0.05
    rejected_clipped_share: Share = 0.3
    warned_dark_share: Share = 0.3
    rejected_dark_share: Share = 0.8
    warned_brightness: Share = 0.37
    warned_eye_opening: Share = 0.2
    warned_covered_share: Share = 0.15
    warned_landmark_spread: Share = 0.035

    def thresholds(self) -> QualityThresholds:
        """Return them as the pipeline takes them."""
        return QualityThresholds(**self.model_dump())


class Delivery(Section):
    """How results are sent, and sent again while a destination is away."""

    first_retry_seconds: Seconds = 5.0
    max_retry_seconds: Seconds = 3600.0
    # With these defaults a destination may be away for a weekend.
    max_attempts: Annotated[int, Field(ge=1)] = 130
    timeout_seconds: Seconds = 30.0
    # How long a destination may take to report what it commits itself to; then it gets the object again.
    commitment_timeout_seconds: Seconds = 600.0

    @model_validator(mode="after")
    def _retries_in_order(self) -> Self:
        if self.max_retry_seconds < self.first_retry_seconds:
            raise ValueError("max_retry_seconds must not be smaller than first_retry_seconds")
        return self


class Sender(Section):
    """Who may send: the calling AE title, and the host it must call from when one is given.

    maximum_associations: at a time; 0: as many as the node takes. commitment_port: where the sender takes
    reports of storage commitment; 0: on the association on which it asked.
    """

    ae_title: AETitle
    host: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_host)] = ""
    maximum_associations: Annotated[int, Field(ge=0, le=1000)] = 0
    commitment_port: ListenPort = 0

    @model_validator(mode="after")
    def _reports_need_a_host(self) -> Self:
        if self.commitment_port and not self.host:
            raise ValueError("a commitment_port needs a host to report to")
        return self


class Destination(Section):
    """Where results go."""

    ae_title: AETitle
    host: Host
    port: PeerPort
    tls: bool = False
    storage_commitment: bool = False


class Status(Section):
    """Where /health is served, and with the token /metrics and the status page. No token: /health only."""

    host: Host = "127.0.0.1"
    port: ListenPort = 8080
    token: Annotated[str, Stripped, AfterValidator(_token)] = ""


class Retention(Section):
    """After how many days received photographs and results may go; 0 keeps them for good."""

    instances_days: Days = 0
    results_days: Days = 0


class Priors(Section):
    """The archive that is asked for earlier photographs of a new patient; without `ae_title`, none is.

    It must know this node as a destination, and be among the senders.
    """

    ae_title: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=16), AfterValidator(_printable)
    ] = ""
    host: Host = "127.0.0.1"
    port: PeerPort = 104
    tls: bool = False
    modalities: tuple[str, ...] = ("XC",)
    most_studies: Annotated[int, Field(ge=1, le=1000)] = 20


class Reports(Section):
    """Which objects leave the node, and of which SOP classes. `compatible`: within what Weasis reads."""

    sr: ReportClass = ReportClass.COMPREHENSIVE_3D
    image: ImageClass = ImageClass.SECONDARY_CAPTURE
    compatible: bool = False
    objects: tuple[ResultObject, ...] = tuple(ResultObject)

    @property
    def options(self) -> ReportOptions:
        """The same, as the reports' builders take it."""
        return ReportOptions(self.sr, self.image, self.compatible, frozenset(self.objects))


class Log(Section):
    """What goes to standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
