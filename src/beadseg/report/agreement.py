"""The table of bias and limits of agreement, for any page that compares two counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.report.blocks import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beadseg.measure.agreement import Agreement


def agreement_table(found: Mapping[str, Agreement]) -> Table:
    """Return one row per comparison: bias and limits, each with its interval."""
    columns = (Column("Agreement"), Column("Images", "d"), Column("Bias"), Column("Lower limit"), Column("Upper limit"))
    rows = [_row(name, one) for name, one in found.items()]
    return Table(columns, rows, "Each with its 95 % confidence interval")


def _row(name: str, found: Agreement) -> Row:
    def told(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.3g} ({interval[0]:.3g} to {interval[1]:.3g})".replace("-", "\N{MINUS SIGN}")

    return (
        name,
        found.pairs,
        told(found.bias, found.bias_interval),
        told(found.lower, found.lower_interval),
        told(found.upper, found.upper_interval),
    )
