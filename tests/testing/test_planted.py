"""Wrong rules of every kind are refused by the right name, right ones accepted at hard points."""

from pathlib import Path

import pytest
from jax.test_util import check_grads

from dini.testing import Verdict, check_rule
from tests.support.marks import case
from tests.support.planted import PLANTED, RIGHT

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"
_LARGE = (
    "one entry of 1e5",
    "one entry of 1e5, reverse",
    "factor, 500 numbers in float32",
)
_QUICK = (
    "by hand",
    "badly scaled leaves",
    "near a pole",
    "one leaf of many sizes",
    "not holomorphic",
    "reverse mode alone",
)


def marked(cases, name, quick):
    return [case(c, id=name(c), quick=quick(name(c))) for c in cases]


each_planted = pytest.mark.parametrize(
    "planted", marked(PLANTED, lambda p: p.kind, lambda name: name not in _LARGE)
)
each_right = pytest.mark.parametrize(
    "right", marked(RIGHT, lambda r: r.name, lambda name: name in _QUICK)
)


def first_failure(planted, seed=0, **options):
    options = {"order": planted.order, "modes": planted.modes} | options
    report = check_rule(planted.f, *planted.args, seed=seed, throw=False, **options)
    assert report.verdict == "fail"
    return next(f for f in report.findings if f.verdict is Verdict.FAIL)


def assert_named(planted, finding):
    assert finding.check == planted.check, finding
    assert planted.words in str(finding), finding


@each_planted
def test_wrong_rule_is_refused_by_name(planted):
    assert_named(planted, first_failure(planted))


@each_right
def test_right_rule_is_accepted_at_a_hard_point(right):
    assert check_rule(right.f, *right.args, modes=right.modes).verdict == "pass"


def needed(planted):
    """As little as finds the mistake, so that many seeds are cheap."""
    order = 2 if planted.check == "second order" else 1
    transforms = {"vmap": ("jit", "vmap"), "jit": ("jit", "vmap")}.get(planted.check, ("jit",))
    return {"order": order, "transforms": transforms}


@pytest.mark.slow
@pytest.mark.parametrize(
    "planted", [pytest.param(p, id=p.kind) for p in PLANTED if p.kind not in _LARGE]
)
def test_wrong_rule_is_refused_whatever_the_seed(planted):
    for seed in range(1, 5):
        assert_named(planted, first_failure(planted, seed, **needed(planted)))


@pytest.mark.slow
@each_right
def test_right_rule_is_accepted_whatever_the_seed(right):
    report = check_rule(
        right.f, *right.args, modes=right.modes, seed=range(50), transforms=("jit",)
    )
    assert report.verdict == "pass", report


def by_check_grads(f, args, **options):
    try:
        check_grads(f, args, **options)
    except AssertionError:
        return "refused"
    except Exception as error:
        return f"raises {type(error).__name__}"
    return "accepted"


@pytest.mark.slow
def test_table_beside_check_grads_is_that_of_the_page():
    """Our column is what the tests above assert; theirs is made anew."""
    page = PAGE.read_text(encoding="utf-8")
    for p in PLANTED:
        theirs = by_check_grads(p.f, p.args, order=p.order, modes=p.modes)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {p.kind} |"))
        assert f"| refused: {p.check}, " in row
        assert row.endswith(f"| {theirs} |")
    for r in RIGHT:
        theirs = by_check_grads(r.f, r.args, order=2, modes=r.modes)
        assert f"| {r.name} | accepted | {theirs} |" in page
