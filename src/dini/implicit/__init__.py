"""Solutions of equations as differentiable functions."""

from dini.implicit._adjoint import Implicit as Implicit, Neumann as Neumann
from dini.implicit._call import Compiled as Compiled
from dini.implicit._diagnose import diagnose as diagnose
from dini.implicit._diagnosis import Diagnosis as Diagnosis
from dini.implicit._equation import (
    implicit_fixed_point as implicit_fixed_point,
    implicit_least_squares as implicit_least_squares,
    implicit_minimum as implicit_minimum,
    implicit_root as implicit_root,
)
from dini.implicit._known import (
    root_jacobian as root_jacobian,
    root_jvp as root_jvp,
    root_vjp as root_vjp,
)
from dini.implicit._solver import (
    custom_fixed_point as custom_fixed_point,
    custom_least_squares as custom_least_squares,
    custom_minimum as custom_minimum,
    custom_root as custom_root,
)
