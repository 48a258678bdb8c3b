"""The documents: their commands run, their links lead somewhere, their tables are the code's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.metrics import DeviceFaults, NodeCollector, StageSeconds
from dicom_node.settings_sections import Quality
from models.catalog import CATALOG
from pipeline.result import QualityIssue, RejectionReason
from storage.database import connect, migrate, open_database, sessions
from tests.acceptance.documents import DOCUMENTS, REPOSITORY, anchors, blocks, links, table
from tests.faces import generated_face
from tests.tiny import TINY_GENERATOR

PROGRAMS = Path(sys.executable).parent
NAMES = [str(document.relative_to(REPOSITORY)) for document in DOCUMENTS]
OPERATIONS = REPOSITORY / "docs" / "operations.md"
OTHERS_PROGRAMS = [
    "cp",
    "curl",
    "docker",
    "install",
    "kubectl",
    "pip",
    "runuser",
    "systemctl",
    "systemd-run",
    "systemd-sysusers",
]


def _run(line: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def _workplace(folder: Path) -> Path:
    """Make a folder as documents take it: the examples in `deploy/`, a photograph, a node that has run."""
    shutil.copytree(REPOSITORY / "deploy", folder / "deploy")
    Image.fromarray(generated_face(15)).save(folder / "photo.jpg", quality=92)
    open_database(f"sqlite:///{folder / 'facenorm-data' / 'facenorm.sqlite'}").dispose()
    return folder


def _environment() -> dict[str, str]:
    """The documented programs first on the path, and the tiny generator in the place of the real one."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FACENORM_") or k == "FACENORM_CACHE"}
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "FACENORM_SCORING__GENERATOR": str(TINY_GENERATOR)}


def _run_what_is_shown(name: str, workplace: Path) -> list[str]:
    """Run every command that has a prompt; return them."""
    environment, commands = _environment(), []
    for block in blocks(REPOSITORY / name, "console"):
        for line in block.lines:
            assert line.startswith("$ "), f"{block.place}: {line}"
            commands.append(line.removeprefix("$ "))
            done = _run(commands[-1], workplace, environment)
            assert done.returncode == 0, f"{block.place}: {line}\n{done.stdout}{done.stderr}"
    return commands


@pytest.mark.parametrize(
    "name", [name for name in NAMES if blocks(REPOSITORY / name, "console") and name != "README.md"]
)
def test_commands_that_are_shown_with_a_prompt_run(name: str, tmp_path: Path) -> None:
    assert _run_what_is_shown(name, _workplace(tmp_path))


def test_the_readmes_commands_run_and_show_how_to_score_and_what_comes_of_it(tmp_path: Path) -> None:
    workplace = _workplace(tmp_path)
    commands = _run_what_is_shown("README.md", workplace)
    assert len([command for command in commands if "--output-dir" in command]) == 1
    found = sorted(path.name for path in (workplace / "pictures").iterdir())
    kinds = ("aligned", "anomaly", "difference", "in_place", "masked", "normalized")
    assert found == [f"photo-{kind}.png" for kind in kinds]


def test_every_other_command_and_option_exists() -> None:
    lines = [
        (block.place, line)
        for document in DOCUMENTS
        for block in blocks(document, "sh")
        for line in block.lines
    ]
    assert lines
    for place, line in lines:
        words = line.split()
        program = words[0].rsplit("/", 1)[-1]
        if program == "facenorm":
            assert _is_known(words[1:]), f"{place}: {line}"
        elif program == "make":
            assert words[1] in _targets(), f"{place}: {line}"
        elif program in ("python", "python3"):
            _check_module(words[1:], place)
        else:
            assert program in OTHERS_PROGRAMS, f"{place}: {line}"


def test_commands_named_in_the_text_exist() -> None:
    for document in DOCUMENTS:
        for command in re.findall(r"`facenorm ([^`]+)`", document.read_text("utf-8")):
            assert _is_known(command.split()), f"{document.name}: facenorm {command}"


@cache
def _help(command: tuple[str, ...]) -> tuple[bool, str]:
    """Return whether `facenorm COMMAND --help` succeeds, and its text."""
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    return done.exit_code == 0, done.output


def _is_known(words: list[str]) -> bool:
    """Whether the subcommand and the options among `words` are in `--help`."""
    command = tuple(words[: 2 if words[0] in ("config", "models", "patient", "rating-set") else 1])
    known, text = _help(command)
    options = [word for word in words if word.startswith("--")]
    return known and all(re.search(rf"{option}\b", text) for option in options)


@cache
def _targets() -> set[str]:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def _check_module(words: list[str], place: str) -> None:
    assert words[0] == "-m", place
    if words[1] not in ("pytest", "venv"):
        path = REPOSITORY / words[1].replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{place}: {words[1]}"


@pytest.mark.parametrize("name", NAMES)
def test_links_and_named_files_lead_somewhere(name: str) -> None:
    document = REPOSITORY / name
    for target in links(document):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = document.parent / path if path else document
        assert found.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors(found), f"{name}: {target}"
    folders = "bench|deploy|dicom_node|docs|models|pipeline|reports|storage|tests"
    for path in re.findall(rf"`((?:{folders})/[\w/.-]+)`", document.read_text("utf-8")):
        assert (REPOSITORY / path).exists() or path == "bench/results/", f"{name}: {path}"


def test_the_table_of_weights_has_an_entry_for_each() -> None:
    rows = table(REPOSITORY / "README.md", "Weights and their licences")
    assert [row["licence"] for row in rows] == [
        entry.licence.removesuffix(" (as the package states)") for entry in CATALOG.values()
    ]


def test_the_table_of_quality_thresholds_holds_the_settings() -> None:
    rows = table(OPERATIONS, "What a photograph must be like")
    usual = Quality().model_dump()
    assert {row["key"].strip("`"): float(row["default"]) for row in rows} == usual
    told = {row["beyond it"].split()[-1] for row in rows if "warning" in row["beyond it"]}
    told |= {QualityIssue.FOUND_BY_NETWORK, QualityIssue.LANDMARKS_BY_PERSON}  # without a threshold
    assert told == set(QualityIssue)
    rejected = {row["beyond it"].split()[-1] for row in rows if "rejected" in row["beyond it"]}
    assert rejected < set(RejectionReason)


def test_the_table_of_metrics_is_complete(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    StageSeconds(registry)
    DeviceFaults(registry)
    engine = connect(f"sqlite:///{tmp_path / 'facenorm.sqlite'}")
    migrate(engine)
    registry.register(
        NodeCollector(
            sessions=sessions(engine),
            workflows=lambda: {"ENQUEUED": 0},
            chore_failures=lambda: {("trigger", "OSError"): 1},
            with_workers=True,
        )
    )
    found = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}
    engine.dispose()
    assert {row["metric"] for row in table(OPERATIONS, "Health and metrics")} == found


def test_every_message_among_the_symptoms_is_in_the_code() -> None:
    code = "\n".join(
        path.read_text("utf-8")
        for folder in ("dicom_node", "models", "storage")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    )
    column = OPERATIONS.read_text("utf-8").partition("## Failures by symptom")[2].partition("\n## ")[0]
    symptoms = [line.split("|")[1] for line in column.splitlines() if line.startswith("|")][2:]
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]
    # Statuses are held against the code with the conformance statement, commands above.
    messages = [q for q in quoted if not re.fullmatch(r"[AC][0-9]{3}|\[\[.*\]\]|facenorm .*", q)]
    assert len(messages) >= 10
    for message in messages:
        assert message in code, message


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]


# Written so that they do not match themselves.
FORBIDDEN = {
    "host of a package registry": r"\b(?:pypi|pythonhosted|npmjs|pytorch|anaconda|conda)[.](?:org|com|io)\b",
    "path of one machine": r"(?<![\w.~])/(?:root|work|home/\w+|Users/\w+)/",
    "unfinished": r"\b(?:TO[D]O|FIX[M]E|XX[X])\b|coming so[o]n",
}


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not a checkout")
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds_what_must_not_be_published(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in _tracked():
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError):  # binary, or deleted and not committed yet
            continue
        found += [f"{path.relative_to(REPOSITORY)}: {match.group()}" for match in pattern.finditer(text)]
    assert not found
