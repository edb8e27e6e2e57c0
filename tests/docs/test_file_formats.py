"""The reference of file formats, table by table, against the code that writes the files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest
from guide_pages import DOCS, table

from beadseg import files
from beadseg.annotation.audit.document import FINDING_COLUMNS
from beadseg.annotation.review.store import REVIEW_COLUMNS
from beadseg.cluster.record import JOB_COLUMNS
from beadseg.data.simulate import TRUTH_COLUMNS
from beadseg.measure.beads import MICROMETRE_COLUMNS
from beadseg.measure.concentration.document import GroupDensity, density_table
from beadseg.predict.counts import CORRECTED_COLUMNS, COUNT_COLUMNS
from beadseg.predict.prediction import BEAD_COLUMNS
from beadseg.predict.tables import FAILURE_COLUMNS
from beadseg.sweep.ranking import FAILURE_COLUMNS as FAILED_TRIAL_COLUMNS
from beadseg.sweep.ranking import SHARE_COLUMNS as IMPORTANCE_COLUMNS
from beadseg.sweep.ranking import TRIAL_COLUMNS
from beadseg.training.crossval import COLUMNS as CROSSVAL_COLUMNS
from beadseg.training.records import HISTORY_COLUMNS, LATER_COLUMNS, SAMPLE_COLUMNS
from beadseg.training.trainer import TIME_COLUMNS

TEXT = (DOCS / "file-formats.md").read_text(encoding="utf-8")
SUMMARY_COLUMNS = ("model", "best_epoch", "best_val_jaccard", "final_val_jaccard", "train_time")


def density_columns() -> list[str]:
    """Return the columns that all tables of densities share."""
    group = GroupDensity.model_construct(**dict.fromkeys(GroupDensity.model_fields))
    return list(density_table([group], (), ()).columns)


COLUMNS: dict[str, Sequence[str]] = {
    "### counts.csv": COUNT_COLUMNS,
    "#### Corrected counts": CORRECTED_COLUMNS,
    "### The bead table": (*BEAD_COLUMNS, *MICROMETRE_COLUMNS),
    "### failures.csv": FAILURE_COLUMNS,
    "### history.csv": HISTORY_COLUMNS,
    "### times.csv": TIME_COLUMNS,
    "### split.csv": ("sample", "fold"),
    "### jobs.csv": JOB_COLUMNS,
    "### samples.csv": (*SAMPLE_COLUMNS, *LATER_COLUMNS),
    "### trials.csv": TRIAL_COLUMNS,
    "### importance.csv": IMPORTANCE_COLUMNS,
    "### failures.csv of a sweep": FAILED_TRIAL_COLUMNS,
    "### training_summary.csv": SUMMARY_COLUMNS,
    "### Columns of densities": density_columns(),
    "### crossval.csv": CROSSVAL_COLUMNS,
    "### audit.csv": FINDING_COLUMNS,
    "### review.csv": REVIEW_COLUMNS,
    "### truth.csv": TRUTH_COLUMNS,
}
UNSAID = {"TEMPORARY_PREFIX", "TEMPORARY_SUFFIX"}
"""Names on disk that no reader meets."""


@pytest.mark.parametrize("heading", COLUMNS)
def test_columns_are_those_of_the_code(heading: str) -> None:
    assert [row[0] for row in table(TEXT, heading)] == list(COLUMNS[heading])


def test_every_name_on_disk_is_explained() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    names = {name: value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
    assert [name for name, value in names.items() if name not in UNSAID and value not in everything] == []


def reference() -> ModuleType:
    """Return the script ``docs/write_reference.py`` as a module."""
    spec = importlib.util.spec_from_file_location("write_reference", DOCS / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_what_is_written_from_the_code_is_fresh() -> None:
    script = reference()
    stale = "run: python docs/write_reference.py"
    assert script.configuration() == (DOCS / "configuration.md").read_text(encoding="utf-8"), stale
    assert script.formats(TEXT) == TEXT, stale
