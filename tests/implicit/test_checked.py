"""Every decorator under `check_rule`: both modes against differences, and against each other."""

import jax
import pytest

from dini.testing import check_rule
from tests.support.battery import real_vector
from tests.support.marks import case
from tests.support.scenarios import SCENARIOS

# One of each decorator.
_NAMES = (
    "implicit_root, not holomorphic",
    "implicit_fixed_point, tree",
    "implicit_minimum, tree",
    "implicit_least_squares, curved",
    "custom_root, vector",
    "custom_fixed_point",
    "custom_minimum, tree",
    "custom_least_squares, curved",
)
_QUICK = ("custom_root, vector",)
_ALL_CHECKS = ("custom_root, vector", "implicit_minimum, tree")


def of_vector(scenario):
    """The solution as a function of one real vector, and that vector."""
    x, back = real_vector(jax.tree.map(jax.numpy.asarray, scenario.args))
    return lambda x: real_vector(scenario.solution(scenario.guess, *back(x)))[0], x


@pytest.mark.parametrize(
    "scenario",
    [case(s, id=s.name, quick=s.name in _QUICK) for s in SCENARIOS if s.name in _NAMES],
)
def test_first_order_passes(scenario):
    f, x = of_vector(scenario)
    report = check_rule(f, x, order=1, transforms=(), rtol=scenario.rtol)
    assert report.verdict == "pass", report


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.name in _ALL_CHECKS], ids=str)
def test_every_check_passes(scenario):
    f, x = of_vector(scenario)
    report = check_rule(f, x, rtol=scenario.rtol)
    assert report.verdict == "pass", report
