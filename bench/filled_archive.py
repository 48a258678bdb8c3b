"""A PostgreSQL filled by the row with what a node would have left there after years, in bulk and at once.

Ten photographs a patient and two a study, as `Shape` says; of each study a report, of each photograph a score
and a normalized one, each delivered; two events of the audit trail a photograph (a node writes more of them,
but reads them only when asked); and the two finished workflows of each study, which DBOS keeps. All is done,
and the files of the older nine tenths are gone, as with retention: what the statements of every day look for
are a few rows among very many.
"""

# ruff: noqa: S608 - the statements are put together from names and numbers of this module

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, text

from bench.given_score import PROVENANCE, given_score
from pipeline.result import plain

DESTINATION, SENDER = "ARCHIVE", "CAMERA"
_UID = "1.2.826.0.1.3680043.9.9"
# The share of the archive whose files are gone.
_KEPT_FROM = 0.9
_BEYOND = 100_000_000
_STATEMENT_LIMIT = "SET LOCAL statement_timeout = '1200s'"


@dataclass(frozen=True, slots=True)
class Shape:
    """per_patient: photographs of one patient; per_study: of one study. ends: when the last one came."""

    total: int
    per_patient: int = 10
    per_study: int = 2
    ends: datetime = datetime.now(UTC) - timedelta(days=1)
    # The whole archive is ten years long, however many photographs there are.
    years: float = 10.0

    @property
    def began(self) -> datetime:
        """When the first photograph came."""
        return self.ends - timedelta(days=365 * self.years)

    def at(self, number: int) -> datetime:
        """Return when photograph `number`, from 1, came."""
        return self.began + number / self.total * (self.ends - self.began)


def patient_id(number: int) -> str:
    """Return the identifier of patient `number`, from 1."""
    return f"TEST-{number:08d}"


def fill(engine: Engine, shape: Shape, present: int, wanted: int) -> None:
    """Add photographs `present` + 1 to `wanted` with all that belongs to them; whole patients only."""
    patients = (present // shape.per_patient + 1, wanted // shape.per_patient)
    studies = (present // shape.per_study + 1, wanted // shape.per_study)
    with engine.begin() as connection:
        connection.execute(text(_STATEMENT_LIMIT))
        # Every row names rows that are filled with it; to look each of them up takes longer than the filling.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        _fill_tables(connection, shape, first=present + 1, last=wanted, patients=patients, studies=studies)
        _purge(connection, shape, wanted)
        _fill_queue(connection, *studies)
        _fit_sequences(connection)
    _vacuum(engine)


def _fill_tables(
    connection: Connection,
    shape: Shape,
    *,
    first: int,
    last: int,
    patients: tuple[int, int],
    studies: tuple[int, int],
) -> None:
    per_study, per_patient = shape.per_study, shape.per_patient
    step = (shape.ends - shape.began).total_seconds() / shape.total
    purged_before = _KEPT_FROM * last
    setting = {
        "began": shape.began,
        "step": step,
        "digest": PROVENANCE.digest(),
        "result": json.dumps(plain(given_score().score)),
    }
    photographs, encounters = f"generate_series({first}, {last}) n", "generate_series({}, {}) s"
    encounters = encounters.format(*studies)
    at = "CAST(:began AS timestamptz) + {} * CAST(:step AS float) * interval '1 second'"
    received, ended = at.format("n"), at.format(f"(s * {per_study})")
    purged = f"CASE WHEN {{}} < {purged_before} THEN {{}} END"
    report = f"3 * ((n - 1) / {per_study} + 1)"  # three objects a study, the report last
    for statement in (
        f"""INSERT INTO patient (id, patient_id, issuer_of_patient_id, priors_asked_at)
        SELECT p, 'TEST-' || lpad(p::text, 8, '0'), '', CAST(:began AS timestamptz)
        FROM generate_series({patients[0]}, {patients[1]}) p""",
        f"""INSERT INTO encounter (id, patient_pk, study_instance_uid, study_date, accession_number,
          last_received_at)
        SELECT s, (s - 1) / {per_patient // per_study} + 1, '{_UID}.1.' || s,
          to_char({ended}, 'YYYYMMDD'), '', {ended} FROM {encounters}""",
        f"""INSERT INTO photograph (id, encounter_pk, sop_instance_uid, sop_class_uid, series_instance_uid,
          transfer_syntax_uid, sha256, size_bytes, path, calling_ae_title, received_at, report_pk, purged_at)
        SELECT n, (n - 1) / {per_study} + 1, '{_UID}.2.' || n, '1.2.840.10008.5.1.4.1.1.77.1.4',
          '{_UID}.3.' || n, '1.2.840.10008.1.2.4.50', md5(n::text) || md5(n::text), 6000000,
          'photograph/' || md5(n::text) || '.dcm', '{SENDER}', {received}, {report},
          {purged.format("n", received)} FROM {photographs}""",
        f"""INSERT INTO scoring (id, photograph_pk, setup_digest, status, score, uncertainty, generator,
          regressor, seed, result, pictures_path, created_at)
        SELECT n, n, :digest, 'scored', 1 + n % 600 / 100.0, 0.5, 'none', 'none', 0, CAST(:result AS json),
          CASE WHEN n >= {purged_before} THEN 'pictures/' || md5(n::text) || '.dcm' END, {received}
        FROM {photographs}""",
        f"""INSERT INTO artefact (id, encounter_pk, kind, sop_instance_uid, sop_class_uid,
          series_instance_uid, scoring_pks, shown, sha256, path, created_at, purged_at)
        SELECT 3 * (s - 1) + k, s, CASE k WHEN 3 THEN 'structured_report' ELSE 'normalized_photograph' END,
          '{_UID}.4.' || (3 * (s - 1) + k), '1.2.840.10008.5.1.4.1.1.88.34', '{_UID}.5.' || s,
          CASE k WHEN 3 THEN json_build_array(2 * s - 1, 2 * s) ELSE json_build_array(2 * (s - 1) + k) END,
          '[]', md5(s::text) || md5(k::text), 'structured_report/' || md5(s::text || k::text) || '.dcm',
          {ended}, {purged.format(f"s * {per_study}", ended)}
        FROM {encounters}, generate_series(1, 3) k""",
        f"""INSERT INTO delivery (id, artefact_pk, destination, state, attempts, due_at, delivered_at)
        SELECT 3 * (s - 1) + k, 3 * (s - 1) + k, '{DESTINATION}', 'delivered', 1, {ended}, {ended}
        FROM {encounters}, generate_series(1, 3) k""",
        f"""INSERT INTO audit_events (at, event, outcome, actor, patient_id, issuer, study_instance_uid,
          detail)
        SELECT {received}, (ARRAY['received', 'scored'])[k], 'success', '{SENDER}',
          'TEST-' || lpad(((n - 1) / {per_patient} + 1)::text, 8, '0'), '',
          '{_UID}.1.' || ((n - 1) / {per_study} + 1), json_build_object('SOPInstanceUID', '{_UID}.2.' || n)
        FROM {photographs}, generate_series(1, 2) k""",
    ):
        wanted = {name: value for name, value in setting.items() if f":{name}" in statement}
        connection.execute(text(statement), wanted)


def _purge(connection: Connection, shape: Shape, wanted: int) -> None:
    """Take away what has become old by what was added."""
    before = {"before": kept_from(shape, wanted)}
    for table, column in (("photograph", "received_at"), ("artefact", "created_at")):
        connection.execute(
            text(f"UPDATE {table} SET purged_at = {column} WHERE purged_at IS NULL AND {column} < :before"),
            before,
        )


def kept_from(shape: Shape, present: int) -> datetime:
    """Return the time before which retention has left no files, of so many photographs."""
    return shape.at(round(_KEPT_FROM * present))


def _fill_queue(connection: Connection, first: int, last: int) -> None:
    """Copy the one finished workflow that there is, as the two of each study, and its steps."""
    name = "bench-template"
    for table, key, copies in (("workflow_status", "workflow_uuid", 2), ("operation_outputs", "", 3)):
        columns = connection.scalars(
            text(
                "SELECT quote_ident(column_name) FROM information_schema.columns "
                "WHERE table_schema = 'dbos' AND table_name = :table AND is_generated = 'NEVER' "
                "AND is_identity = 'NO' ORDER BY ordinal_position"
            ),
            {"table": table},
        ).all()
        uuid = f"'{_UID}.1.' || s || CASE WHEN k = 2 THEN '\\:report' ELSE '' END"
        if not key:
            uuid = f"'{_UID}.1.' || s || CASE WHEN k = 3 THEN '\\:report' ELSE '' END"
        value = {"workflow_uuid": uuid, "function_id": "k"}
        chosen = ", ".join(value.get(column, f"w.{column}") for column in columns)
        connection.execute(
            text(
                f"INSERT INTO dbos.{table} ({', '.join(columns)}) SELECT {chosen} FROM "
                f"(SELECT * FROM dbos.{table} WHERE workflow_uuid = :name LIMIT 1) w, "
                f"generate_series({first}, {last}) s, generate_series(1, {copies}) k"
            ),
            {"name": name},
        )


def _fit_sequences(connection: Connection) -> None:
    """Let what is added by the node's own functions have keys beyond all that will ever be filled."""
    for table in ("patient", "encounter", "photograph", "scoring", "artefact", "delivery"):
        connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f"greatest(:beyond, max(id))) FROM {table}"
            ),
            {"beyond": _BEYOND},
        )


def _vacuum(engine: Engine) -> None:
    """Do what the server's own housekeeping does sooner or later; what is timed then is not disturbed."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = '1200s'"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
