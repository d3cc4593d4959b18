"""The packages below ``tools/`` import the library, never the reverse."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imported(path: Path) -> set[str]:
    """The first names of what a file imports, also within functions."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or '' for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split('.')[0] for name in names}


def test_the_library_imports_nothing_of_the_tools():
    tools = {path.stem for path in (ROOT / 'tools').iterdir()}
    assert {'benchmarks', 'reproduction', 'studies'} <= tools
    for path in (ROOT / 'bce3s').rglob('*.py'):
        assert not imported(path) & (tools - {'test'}), path


def test_no_package_of_the_tools_has_the_name_of_a_command():
    """``tools`` is the first place that a command imports from."""
    names = [path.stem for path in (ROOT / 'tools').iterdir() if not path.name.startswith('_')]
    assert len(set(names)) == len(names)
