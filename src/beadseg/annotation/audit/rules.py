"""From numbers to findings: every rule looks at one sample's measurement and at what is usual in the data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beadseg.annotation.audit.document import Baseline, Box, Finding, NotAssessable

if TYPE_CHECKING:
    from beadseg.annotation.audit.codes import Code, Severity


@dataclass
class Sheet:
    """The findings about one sample, as they are collected.

    Attributes
    ----------
    sample, field_name : str
        Its name and its field of view.
    baseline : Baseline
        What is usual.
    findings, unknown : list
        What was found, and what could not be told.
    """

    sample: str
    field_name: str
    baseline: Baseline
    findings: list[Finding] = field(default_factory=list)
    unknown: list[NotAssessable] = field(default_factory=list)

    def add(
        self,
        code: Code,
        severity: Severity,
        badness: float,
        value: float,
        unit: str,
        message: str,
        *,
        values: dict[str, float] | None = None,
        box: Box | None = None,
        partner: str | None = None,
    ) -> None:
        """Add a finding; `badness` is cut to 0-1."""
        numbers = {name: round(number, 4) for name, number in (values or {}).items()}
        self.findings.append(
            Finding(
                sample=self.sample,
                field=self.field_name,
                code=code,
                severity=severity,
                badness=round(min(1.0, max(0.0, badness)), 4),
                value=round(value, 4),
                unit=unit,
                values=numbers,
                message=message,
                box=box,
                partner=partner,
            )
        )

    def cannot_tell(self, codes: tuple[Code, ...], reason: str) -> None:
        """Say that these checks were not possible."""
        self.unknown.append(NotAssessable(codes=codes, reason=reason))

    def has(self, *codes: Code) -> bool:
        """Tell whether one of `codes` was found."""
        return any(finding.code in codes for finding in self.findings)
