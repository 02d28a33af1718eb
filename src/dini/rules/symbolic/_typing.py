"""What annotations call SymPy's objects, whose own types do not follow its operations."""

from typing import Any

Expr = Any
Symbol = Any
