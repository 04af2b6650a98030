"""Chassis stays small: decision record 0001 says how it is counted, and why."""

import ast
import io
import tokenize
from pathlib import Path

import chassis

MOST = 2_090
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    """Lines that hold code: no blank line, no comment, no docstring, no import."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        words = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        if isinstance(node, ast.stmt) and (words or isinstance(node, ast.Import | ast.ImportFrom)):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_chassis_is_small() -> None:
    files = [each for each in Path(chassis.__file__).parent.rglob("*.py") if each.name != "testing.py"]
    counted = sum(lines_of_code(each.read_text("utf-8")) for each in files)
    assert counted <= MOST


def test_what_is_counted() -> None:
    source = (
        '"""Words."""\nimport os\n\nA = 1  # one\n# nothing\ndef f():\n    """Words."""\n    return """two\nlines"""\n'
    )
    assert lines_of_code(source) == 4
