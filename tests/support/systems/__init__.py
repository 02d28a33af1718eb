"""Standard nonlinear systems, by class: published residuals, starting points and roots."""

from tests.support.systems._system import System as System
from tests.support.systems.brackets import BRACKETS as BRACKETS
from tests.support.systems.contractions import fixed_points as fixed_points
from tests.support.systems.grids import large as large, small as small
from tests.support.systems.minpack import minpack as minpack
