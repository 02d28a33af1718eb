"""Functions of matrices, and equations in them, with derivatives of every order."""

from dini.linalg._det import det as det, slogdet as slogdet
from dini.linalg._eigh import eigh as eigh
from dini.linalg._pinv import pinv as pinv
from dini.linalg._spectral_function import spectral_function as spectral_function
from dini.linalg._svd import svd as svd
