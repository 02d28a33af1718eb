"""Functions of matrices, and matrix equations, with derivatives of every order."""

from dini.linalg._det import det as det, slogdet as slogdet
from dini.linalg._eigh import eigh as eigh
from dini.linalg._expm import expm as expm
from dini.linalg._expm_multiply import expm_multiply as expm_multiply
from dini.linalg._fractional_matrix_power import fractional_matrix_power as fractional_matrix_power
from dini.linalg._funm_multiply import funm_multiply as funm_multiply
from dini.linalg._funm_trace import funm_trace as funm_trace
from dini.linalg._inv import inv as inv
from dini.linalg._logm import logm as logm
from dini.linalg._lyapunov import (
    solve_continuous_lyapunov as solve_continuous_lyapunov,
    solve_discrete_lyapunov as solve_discrete_lyapunov,
)
from dini.linalg._pinv import pinv as pinv
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
from dini.linalg._spectral_function import spectral_function as spectral_function
from dini.linalg._sqrtm import inv_sqrtm as inv_sqrtm, sqrtm as sqrtm
from dini.linalg._svd import svd as svd
from dini.linalg._sylvester import (
    solve_generalized_sylvester as solve_generalized_sylvester,
    solve_sylvester as solve_sylvester,
)
from dini.linalg._trigonometric import (
    coshm as coshm,
    cosm as cosm,
    sinhm as sinhm,
    sinm as sinm,
)
