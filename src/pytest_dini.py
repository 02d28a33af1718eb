"""The pytest plugin: the fixture `check_rule`, and a summary of what it could not decide.

A module of its own beside the package, so that pytest does not import JAX before a conftest has had
the chance to configure it.
"""

from collections.abc import Callable
from typing import Any

import pytest

_PROPERTY = "check_rule"


@pytest.fixture
def check_rule(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`dini.testing.check_rule`; inconclusive reports are listed at the end of the run."""
    from dini import testing  # noqa: PLC0415

    def check(*args: Any, **kwargs: Any) -> testing.Report:
        report = testing.check_rule(*args, **kwargs)
        if report.verdict is testing.Verdict.INCONCLUSIVE:
            request.node.user_properties.append((_PROPERTY, str(report)))
        return report

    return check


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the inconclusive reports, those of other processes too."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, text in report.user_properties:
                if name == _PROPERTY:
                    terminalreporter.section(f"inconclusive: {report.nodeid}")
                    terminalreporter.line(text)
