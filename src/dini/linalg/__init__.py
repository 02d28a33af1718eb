"""Functions of matrices, and matrix equations, with derivatives."""

from dini.linalg._lyapunov import (
    solve_continuous_lyapunov as solve_continuous_lyapunov,
    solve_discrete_lyapunov as solve_discrete_lyapunov,
)
from dini.linalg._polar import polar as polar
from dini.linalg._quadratic import (
    quadratic_radii as quadratic_radii,
    solve_quadratic as solve_quadratic,
)
from dini.linalg._riccati import (
    solve_continuous_are as solve_continuous_are,
    solve_discrete_are as solve_discrete_are,
)
from dini.linalg._signm import signm as signm
from dini.linalg._sqrtm import inv_sqrtm as inv_sqrtm, sqrtm as sqrtm
from dini.linalg._sylvester import (
    solve_generalized_sylvester as solve_generalized_sylvester,
    solve_sylvester as solve_sylvester,
)
