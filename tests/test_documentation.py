"""The snippets of README and docs run, page by page; tables are what was measured."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/index.md", "docs/guide.md", "docs/choosing.md", "docs/derivations.md"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_snippets_of_a_page_run(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    names = {"__name__": "page"}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    assert "__name__" in names


@pytest.mark.parametrize("name", ["solver_tables", "timing_tables"])
def test_tables_are_those_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script, page = (importlib.import_module(module) for module in (name, "page"))
    text = script.PAGE.read_text(encoding="utf-8")
    assert page.split(text)[1].strip() == script.tables().strip()


def test_every_export_has_a_page() -> None:
    import dini  # noqa: PLC0415

    docs = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    exports = [
        name for name in vars(dini) if not name.startswith("_") and name[0] != name[0].lower()
    ]
    exports += [name for name in vars(dini) if name.startswith(("implicit_", "custom_", "root_"))]
    exports += ["external", "forward_mode", "linear_map", "matrix_function", "symbolic_rule"]
    assert "custom_rule" in exports
    exports += [f"conditions.{name}" for name in vars(dini.conditions) if name[0].islower()]
    exports += [f"numeric.{name}" for name in vars(dini.numeric) if not name.startswith("_")]
    exports += [f"testing.{name}" for name in vars(dini.testing) if not name.startswith("_")]
    exports += [f"linalg.{name}" for name in vars(dini.linalg) if name[0] != "_"]
    exports += [f"economics.{name}" for name in vars(dini.economics) if name[0] != "_"]
    assert len(exports) > 10
    assert [name for name in exports if f"::: dini.{name}" not in docs] == []
