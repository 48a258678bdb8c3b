"""Every table of the score's validation, from the rows of `bench.measure_cases`, into docs/validation.md.

`make evaluate` measures what is missing first, which takes hours without a GPU, and can be interrupted.

    python -m bench.evaluate --rows out/validation --photos DIR --document docs/validation.md
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table as Shown

from bench.generated_groups import guessed_groups
from bench.validation_plot import draw_validation
from bench.validation_rows import read_rows
from bench.validation_tables import (
    Table,
    feature_table,
    generated_group_table,
    group_table,
    kind_table,
    left_out_table,
    outcome_table,
    retake_table,
)
from models.catalog import GENERATOR
from models.generator import load_generator
from models.regressor import load_regressor

_BEGIN, _END = "<!-- tables: bench.evaluate -->", "<!-- end of tables -->"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--photos", type=Path, help="its info.csv says who belongs to which group")
    arguments.add_argument("--seed", type=int, default=77, help="of the generated faces, as when measured")
    arguments.add_argument("--regressor", type=Path, help="instead of the one that ships")
    arguments.add_argument("--document", type=Path, help="replace the tables between its marks")
    arguments.add_argument("--record", type=Path, help="write the tables as JSON, too")
    arguments.add_argument("--plot", type=Path, help="draw scores by group and by severity into this PNG")
    options = arguments.parse_args()
    generator = load_generator(GENERATOR, torch.device("cpu"))
    regressor = load_regressor(options.regressor or generator.folder / generator.card.regressor)
    rows = read_rows(options.rows)
    tables = {
        "What each set of features is worth: R of severity and score": feature_table(rows),
        "People, by kind": kind_table(rows, regressor),
        "One kind left out": left_out_table(rows, regressor),
        "Taken again": retake_table(rows, regressor),
        "Pairs, regions, intervals": outcome_table(rows, regressor),
        "Groups of undeformed people": group_table(rows, regressor, groups_in(options.photos)),
    }
    of_person = groups_in(options.photos).get("gender")
    if of_person:
        kept = options.rows / "generated_embeddings.npz"
        guessed = guessed_groups(rows, generator, options.photos, of_person, options.seed, kept)
        sure = f"right for {100 * guessed.right:.0f} % of people"
        tables[f"Generated faces, by the gender that they look like ({sure})"] = generated_group_table(
            rows, regressor, guessed.group
        )
    for title, table in tables.items():
        shown = Shown(*table[0], title=title)
        for row in table[1:]:
            shown.add_row(*row)
        Console().print(shown)
    if options.record:
        options.record.write_text(json.dumps({"rows": len(rows), "tables": tables}, indent=1) + "\n")
    if options.plot:
        draw_validation(rows, regressor, groups_in(options.photos), options.plot)
    if options.document:
        put_into(options.document, tables)


def groups_in(photos: Path | None) -> Mapping[str, Mapping[str, str]]:
    """Return gender and ancestry by person, as they reported them; nothing without the file."""
    path = photos / "info.csv" if photos else None
    if path is None or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    columns = {"gender": "face_gender", "ancestry": "face_eth"}
    return {what: {p["face_id"]: p[column] for p in people} for what, column in columns.items()}


def put_into(document: Path, tables: Mapping[str, Table]) -> None:
    """Replace what stands between the marks."""
    before, rest = document.read_text("utf-8").split(_BEGIN)
    _, after = rest.split(_END)
    parts = []
    for title, (head, *rows) in tables.items():
        lines = [head, ["---"] * len(head), *rows]
        parts.append(f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    document.write_text(before + _BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + _END + after, "utf-8")


if __name__ == "__main__":
    main()
