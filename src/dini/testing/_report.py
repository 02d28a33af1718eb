"""What was looked at, what came of it, and how it reads."""

import dataclasses
import enum


class Verdict(enum.StrEnum):
    """What a check says; equal to the strings "pass", "fail" and "inconclusive"."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: "value", "types", "linear", "jvp", "vjp", "zeros", "second order", "jit", "vmap",
            "scan", "checkpoint" or "host calls".
        transform: how it was looked at: the mode, the order, the transformation.
        verdict: what came of it.
        reason: why, in words; empty for a pass.
        path: the leaf, with the index of the number in it: `theta['a'][3]`, `out[0]`.
        got, expected: the number as it is, and as it should be.
        error: the error bar of `expected`; of a pass, the largest relative to its leaf.
        ratio: the c for which c · expected is nearest to what was got, over the numbers beside it.
        seed: the seed of the random directions.
        cause: the exception that the function raised, if it did.
    """

    check: str
    transform: str
    verdict: Verdict = Verdict.PASS
    reason: str = ""
    path: str = ""
    got: float | complex | None = None
    expected: float | complex | None = None
    error: float | None = None
    ratio: float | None = None
    seed: int | None = None
    cause: BaseException | None = dataclasses.field(default=None, repr=False)

    def __str__(self) -> str:
        parts = [f"{self.verdict.value} {self.check} ({self.transform})"]
        if self.path:
            parts.append(f"at {self.path}")
        if self.got is not None:
            bar = f" ± {self.error:.1e}" if self.error is not None else ""
            parts.append(f"got {self.got:.12g}, expected {self.expected:.12g}{bar}")
        if self.ratio is not None:
            parts.append(f"best-fit ratio about {self.ratio:.6g}")
        if self.reason:
            parts.append(self.reason)
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        return "\n      ".join(parts)


def doubted(label: Finding) -> Finding:
    """The finding that rounding may hide a mistake."""
    reason = "a rounding error in the point changes the result by as much as the two differ"
    return dataclasses.replace(label, verdict=Verdict.INCONCLUSIVE, reason=reason)


def raised(label: Finding, error: BaseException) -> Finding:
    """The finding that the function raised an exception where it should not."""
    message = str(error).strip().split("\n")[0]
    reason = f"raised {type(error).__name__}: {message}"
    return dataclasses.replace(label, verdict=Verdict.FAIL, reason=reason, cause=error)


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings about one function at one point.

    Attributes:
        name: the function's name.
        findings: everything that was looked at.
    """

    name: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        found = {f.verdict for f in self.findings}
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            if verdict in found:
                return verdict
        return Verdict.PASS

    @property
    def reason(self) -> str:
        """The findings that are no passes, one a paragraph."""
        return "\n".join(str(f) for f in self.findings if f.verdict is not Verdict.PASS)

    def __str__(self) -> str:
        passed: dict[str, float] = {}
        for f in self.findings:
            if f.verdict is Verdict.PASS:
                passed[f.check] = max(passed.get(f.check, 0.0), f.error or 0.0)
        lines = [f"check_rule of `{self.name}`: {self.verdict.value}"]
        lines += [f"  {f}" for f in self.findings if f.verdict is not Verdict.PASS]
        names = [f"{check} (± {bar:.0e})" if bar else check for check, bar in passed.items()]
        lines += [f"  pass {', '.join(names)}"] if passed else []
        return "\n".join(lines)


class RuleError(AssertionError):
    """A derivative is wrong, or could not be checked; the message is the report.

    Attributes:
        report: the report.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
