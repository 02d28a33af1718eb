"""Functions of matrices, and matrix equations, with derivatives."""

from dini.linalg._sqrtm import inv_sqrtm as inv_sqrtm, sqrtm as sqrtm
