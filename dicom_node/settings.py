"""Settings: one TOML file, each key of which an environment variable may override."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as MalformedEnvironment

from pipeline.quality_thresholds import QualityThresholds
from reports.options import ImageClass, ReportClass, ReportOptions, ResultObject
from storage.objects import bucket_and_prefix

DATABASE_FILE = "facenorm.sqlite"
"""In the data folder, where no other database is set."""


class SettingsError(Exception):
    """The settings cannot be used; the text has one line per wrong key and says what to do."""


def _printable(title: str) -> str:
    # PS3.5 section 6.2: AE excludes backslash and control characters.
    if "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def _bucket_url(url: str) -> str:
    if url:
        bucket_and_prefix(url)
    return url


AETitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=16),
    AfterValidator(_printable),
]
Host = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
PeerPort = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Node(_Section):
    """The receiving DICOM application. Port 0 lets the system choose one."""

    ae_title: AETitle = "FACENORM"
    host: Host = "127.0.0.1"
    port: ListenPort = 11112
    tls: bool = False
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 10
    # A photograph of 80 megapixels, uncompressed.
    maximum_object_megabytes: Annotated[int, Field(ge=1)] = 256
    acse_timeout_seconds: Seconds = 30.0
    dimse_timeout_seconds: Seconds = 60.0
    network_timeout_seconds: Seconds = 60.0
    object_timeout_seconds: Seconds = 900.0


class Tls(_Section):
    """Our certificate and key, and whom we trust: PEM files. Needed where some `tls` is true."""

    certificate: str = ""
    private_key: str = ""
    trusted: str = ""
    # Whether a destination's certificate must name the host that it is called at.
    verify_host: bool = True


class Data(_Section):
    """Where everything is kept. A relative folder counts from the working directory.

    files_url: empty, or `s3://bucket/prefix` for the files. Credentials come from the environment only.
    """

    folder: Path = Path("facenorm-data")
    database_url: str = ""
    files_url: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_bucket_url)] = ""
    files_endpoint: Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+/?)?$")] = ""
    files_region: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    # Of one request, which is tried three times; a photograph must be through by then.
    files_timeout_seconds: Annotated[float, Field(gt=0, le=100)] = 20.0
    # Copies of what was read from object storage.
    cache_megabytes: Annotated[int, Field(ge=1)] = 2000
    # Below this much free space, photographs are refused with 0xA700 until there is room again.
    minimum_free_megabytes: Annotated[int, Field(ge=0)] = 500


class Trigger(_Section):
    """When a study is scored: nothing has come for this long."""

    quiet_seconds: Annotated[float, Field(ge=0)] = 10.0
    # Studies of one sender, and of today or not, that wait in the queue at a time; 0: any number.
    most_waiting_per_sender: Annotated[int, Field(ge=0)] = 50


class Scoring(_Section):
    """How photographs are scored. An empty `regressor` is the one that belongs to the generator.

    batch: how many photographs are normalized together; 0: as many as the device gains from, one on a CPU.
    on_device_fault: what follows when a GPU is lost, or has no memory for a single photograph.
    """

    profile: Literal["fast", "reference", "paper"] = "fast"
    device: str = "auto"
    generator: Annotated[str, Field(min_length=1)] = "mobilestylegan-ffhq"
    regressor: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    batch: Annotated[int, Field(ge=0, le=64)] = 0
    on_device_fault: Literal["cpu", "hand_back"] = "cpu"
    # For one photograph; then the scoring process is ended and the photograph tried again.
    timeout_seconds: Seconds = 3600.0


class Workers(_Section):
    """How workers that share a PostgreSQL database are told from such as have gone."""

    beat_seconds: Seconds = 5.0
    # The work of a worker that was silent for so long is handed to another.
    gone_seconds: Seconds = 30.0

    @model_validator(mode="after")
    def _some_beats_may_be_late(self) -> Self:
        if self.gone_seconds < 3 * self.beat_seconds:
            raise ValueError("gone_seconds must be three times beat_seconds or more")
        return self


class Quality(_Section):
    """From where on a photograph is scored with a warning, and from where on it is rejected."""

    minimum_face_pixels: Annotated[int, Field(ge=1)] = 200
    recommended_face_pixels: Annotated[int, Field(ge=1)] = 350
    warned_yaw_degrees: Degrees = 15.0
    rejected_yaw_degrees: Degrees = 40.0
    warned_pitch_degrees: Degrees = 20.0
    rejected_pitch_degrees: Degrees = 40.0
    warned_roll_degrees: Degrees = 30.0
    warned_rival: Share = 0.3
    rejected_rival: Annotated[float, Field(ge=0)] = 0.7
    warned_share_outside: Share = 0.02
    rejected_share_outside: Share = 0.2
    warned_sharpness: Share = 0.2
    rejected_sharpness: Share = 0.08
    warned_clipped_share: Share = 0.05
    rejected_clipped_share: Share = 0.3
    warned_dark_share: Share = 0.3
    rejected_dark_share: Share = 0.8
    warned_eye_opening: Share = 0.2
    warned_covered_share: Share = 0.15
    warned_landmark_spread: Share = 0.035

    def thresholds(self) -> QualityThresholds:
        """Return them as the pipeline takes them."""
        return QualityThresholds(**self.model_dump())


class Delivery(_Section):
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


class Sender(_Section):
    """Who may send: the calling AE title, and the host it must call from when one is given.

    maximum_associations: at a time; 0: as many as the node takes. commitment_port: where the sender takes
    reports of storage commitment; 0: on the association on which it asked.
    """

    ae_title: AETitle
    host: str = ""
    maximum_associations: Annotated[int, Field(ge=0, le=1000)] = 0
    commitment_port: ListenPort = 0

    @model_validator(mode="after")
    def _reports_need_a_host(self) -> Self:
        if self.commitment_port and not self.host:
            raise ValueError("a commitment_port needs a host to report to")
        return self


class Destination(_Section):
    """Where results go."""

    ae_title: AETitle
    host: Host
    port: PeerPort
    tls: bool = False
    storage_commitment: bool = False


class Status(_Section):
    """Where /health is served, and with the token /metrics and the status page. No token: /health only."""

    host: Host = "127.0.0.1"
    port: ListenPort = 8080
    token: Annotated[str, Field(pattern=r"^([!-~]{16,})?$")] = ""


class Retention(_Section):
    """After how many days received photographs and results may go; 0 keeps them for good."""

    instances_days: Annotated[int, Field(ge=0)] = 0
    results_days: Annotated[int, Field(ge=0)] = 0


class Priors(_Section):
    """The archive that is asked for earlier photographs of a new patient; without `ae_title`, none is.

    It must know this node as a destination, and be among the senders.
    """

    ae_title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=16)] = ""
    host: Host = "127.0.0.1"
    port: PeerPort = 104
    tls: bool = False
    modalities: tuple[str, ...] = ("XC",)
    most_studies: Annotated[int, Field(ge=1, le=1000)] = 20


class Reports(_Section):
    """Which objects leave the node, and of which SOP classes. `compatible`: within what Weasis reads."""

    sr: ReportClass = ReportClass.COMPREHENSIVE_3D
    image: ImageClass = ImageClass.SECONDARY_CAPTURE
    compatible: bool = False
    objects: tuple[ResultObject, ...] = tuple(ResultObject)

    @property
    def options(self) -> ReportOptions:
        """The same, as the reports' builders take it."""
        return ReportOptions(self.sr, self.image, self.compatible, frozenset(self.objects))


class Log(_Section):
    """What goes to standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Every setting of the node; `load_settings` makes one."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="FACENORM_",
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    node: Node = Node()
    tls: Tls = Tls()
    data: Data = Data()
    trigger: Trigger = Trigger()
    scoring: Scoring = Scoring()
    workers: Workers = Workers()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()
    senders: tuple[Sender, ...] = ()
    destinations: tuple[Destination, ...] = ()
    status: Status = Status()
    retention: Retention = Retention()
    priors: Priors = Priors()
    reports: Reports = Reports()
    log: Log = Log()

    @model_validator(mode="after")
    def _destinations_differ(self) -> Self:
        titles = [destination.ae_title for destination in self.destinations]
        if len(set(titles)) < len(titles):
            raise ValueError("destinations: every destination needs an ae_title of its own")
        return self

    @model_validator(mode="after")
    def _certificates_where_there_is_tls(self) -> Self:
        if self.node.tls or any(destination.tls for destination in self.destinations):
            missing = [
                name for name in ("certificate", "private_key", "trusted") if not getattr(self.tls, name)
            ]
            if missing:
                raise ValueError(f"tls: {', '.join(missing)}: needed where some tls is true")
        return self

    @property
    def database_url(self) -> str:
        """The database's URL: the one that was set, else SQLite in the data folder."""
        return self.data.database_url or f"sqlite:///{self.data.folder.absolute() / DATABASE_FILE}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content comes in as arguments."""
        return env_settings, init_settings


def load_settings(config: Path | None) -> Settings:
    """Return the settings from the TOML file `config` and the environment.

    FACENORM_NODE__PORT=4242 overrides `port` of `[node]`; a list such as FACENORM_SENDERS is JSON.
    Without a file the defaults and the environment count.

    Raises:
        SettingsError: the file cannot be read, or a key or value is wrong.

    """
    try:
        return Settings(**_read(config))
    except ValidationError as error:
        lines = "\n".join(f"  {_explained(detail)}" for detail in error.errors(include_input=False))
        raise SettingsError(f"{_origin(config)} cannot be used:\n{lines}") from None
    except MalformedEnvironment:
        raise SettingsError(
            "an environment variable FACENORM_... holds a list or section that is not valid JSON; "
            'write for example FACENORM_SENDERS=\'[{"ae_title": "CAMERA"}]\''
        ) from None


def _read(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(
            f"{config}: {error.strerror}; give --config the path of a readable TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not valid TOML: {error}") from None


def _origin(config: Path | None) -> str:
    return f"{config} (with the FACENORM_... environment variables)" if config else "the environment"


def _explained(detail: ErrorDetails) -> str:
    location = detail["loc"]
    key = ".".join(str(part) for part in location) or "settings"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)
        known = ", ".join(_known_keys(location[:-1]))
        return f"{key}: there is no such key; " + (f"did you mean {near[0]}?" if near else f"known: {known}")
    if detail["type"] == "missing":
        return f"{key}: is required; add it"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}; correct it"


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    lists: dict[str, type[BaseModel]] = {"senders": Sender, "destinations": Destination}
    if not section:
        return list(Settings.model_fields)
    name = str(section[0])
    model = lists.get(name) or Settings.model_fields[name].annotation
    return list(getattr(model, "model_fields", {}))
