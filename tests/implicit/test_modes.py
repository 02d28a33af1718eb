"""Every decorator in every mode, at every order, under every transformation."""

import pytest

from tests.support.battery import check_all_modes, check_derivative_in_guess_is_zero
from tests.support.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=repr)
def test_solution_agrees_with_the_closed_form_in_every_mode(scenario):
    check_all_modes(scenario)
