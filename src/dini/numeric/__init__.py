"""Finite differences and complex steps: derivatives from values of a function alone."""

from dini.numeric._complex_step import complex_step_jvp as complex_step_jvp
from dini.numeric._differences import (
    finite_difference_jacobian as finite_difference_jacobian,
    finite_difference_jvp as finite_difference_jvp,
)
from dini.numeric._plot import plot_error as plot_error
from dini.numeric._ridders import ridders_jvp as ridders_jvp
