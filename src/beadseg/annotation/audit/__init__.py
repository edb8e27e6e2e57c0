"""The audit: what is wrong with the annotations of a data set, worst first, and what would correct it."""

from beadseg.annotation.audit.document import Audit, Baseline, Finding, NotAssessable, Proposal, SampleAudit
from beadseg.annotation.audit.run import audit

__all__ = ["Audit", "Baseline", "Finding", "NotAssessable", "Proposal", "SampleAudit", "audit"]
