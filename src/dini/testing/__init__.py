"""Checks of derivatives that are given by hand."""

from dini.testing._check_rule import check_rule as check_rule
from dini.testing._report import (
    Finding as Finding,
    Report as Report,
    RuleError as RuleError,
    Verdict as Verdict,
)
