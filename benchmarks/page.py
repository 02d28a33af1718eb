"""The part of a page in docs/ that a benchmark writes: tables between two marks."""

from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table, its head the first line."""
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    rule = "|---" * len(lines[0]) + "|"
    return "\n".join([head, rule, *body]) + "\n"


def split(page: str) -> tuple[str, str, str]:
    """The page before the tables, the tables, and the page after them."""
    before, rest = page.split(BEGIN)
    tables, after = rest.split(END)
    return before, tables, after


def put(page: Path, tables: str) -> None:
    """Puts the tables in their place."""
    before, _, after = split(page.read_text(encoding="utf-8"))
    page.write_text(before + BEGIN + "\n" + tables + "\n" + END + after, encoding="utf-8")
