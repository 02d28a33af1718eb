"""Every decorator in every mode, at every order, under every transformation.

The oracle is the same solution in closed form, differentiated by JAX.
"""

import pytest

from tests.support.battery import (
    MODES,
    check_all_modes,
    check_derivative_in_guess_is_zero,
    check_mode,
    forward_over_reverse,
    reverse_over_forward_mapped,
)
from tests.support.scenarios import SCENARIOS

# The quick tests: second order for every scenario, and every mode for a solver in JAX and for a
# foreign one.
_EVERY_MODE = ("implicit_fixed_point, tree", "custom_root, vector")


def _pairs():
    for i, scenario in enumerate(SCENARIOS):
        second_order = (forward_over_reverse, reverse_over_forward_mapped)[i % 2]
        for mode in MODES:
            quick = mode is second_order or scenario.name in _EVERY_MODE
            marks = () if quick else pytest.mark.slow
            name = f"{scenario.name}-{mode.__name__}"
            yield pytest.param(scenario, mode, id=name, marks=marks)


@pytest.mark.parametrize(("scenario", "mode"), list(_pairs()))
def test_solution_agrees_with_the_closed_form(scenario, mode):
    check_mode(scenario, mode)


def _named(name):
    return next(s for s in SCENARIOS if s.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("name", _EVERY_MODE)
def test_solution_called_eagerly_agrees_with_the_closed_form(name):
    check_all_modes(_named(name), compiled=False)


@pytest.mark.parametrize(
    "name", ["implicit_root, scalar", "custom_fixed_point", "custom_minimum, tree"]
)
def test_derivative_in_the_guess_is_zero(name):
    check_derivative_in_guess_is_zero(_named(name))
