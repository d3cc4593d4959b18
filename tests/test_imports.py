"""The import graph of the library: one way, no circle, and nothing of the tools."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the bottom up: a folder or module imports from its own row and from those above it here.
ROWS = (
    'errors wording randomness devices packaged files tables plotting',
    'signals processes distributed launcher arguments',
    'losses samplers evaluation theory long_tailed',
    'registry config',
    'datasets',
    'augmentation',
    'models',
    'registered',
    'engine',
    'own_data',
    'inference page',
    'cli run_commands prepare_data __main__',
)
ROW_OF = {name: number for number, row in enumerate(ROWS) for name in row.split()}
# The only arrow up, within a function: a partner sampler that is given as a config is built.
UPWARDS = {('samplers', 'registry')}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


FILES = {name_of(path): path for path in sorted((ROOT / 'bce3s').rglob('*.py'))}


class Imports(ast.NodeVisitor):
    """What a module imports, also within functions; not what only the type checker reads."""

    def __init__(self, path: Path) -> None:
        self.names: set[str] = set()
        self.visit(ast.parse(path.read_text()))

    def visit_If(self, node: ast.If) -> None:
        if 'TYPE_CHECKING' not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            submodule = f'{node.module}.{alias.name}'
            self.names.add(submodule if submodule in FILES else node.module or '')


GRAPH = {name: Imports(path).names for name, path in FILES.items()}
OURS = {name: names & FILES.keys() for name, names in GRAPH.items()}


def part(name: str) -> str:
    """``bce3s.models.head`` -> ``models``. Counts and splits lie at the bottom, in the folder where
    a reader looks for them.
    """
    return 'long_tailed' if name == 'bce3s.datasets.long_tailed' else [*name.split('.'), ''][1]


def test_every_arrow_goes_down():
    assert {part(name) for name in FILES} - {''} <= ROW_OF.keys(), 'give it a place in ROWS'
    backward = {
        f'{name} imports {other}'
        for name, others in OURS.items()
        for other in others
        if part(name) and ROW_OF[part(name)] < ROW_OF.get(part(other), 0)
        if (part(name), part(other)) not in UPWARDS
    }
    assert not backward, '\n'.join(sorted(backward))


def test_no_modules_import_each_other():
    """The package itself, whose names are lazy, is left out."""
    reached = {name: set(others) - {'bce3s'} for name, others in OURS.items()}
    for middle in reached:  # Warshall's closure
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    circles = {frozenset(o for o in reached[name] if name in reached[o]) for name in reached}
    circles = {circle for circle in circles if len(circle) > 1}
    assert not circles


def test_the_bottom_knows_no_mmengine_and_nothing_imports_the_tools():
    bottom = {name for name in ROW_OF if ROW_OF[name] <= ROW_OF['losses']}
    for name, names in GRAPH.items():
        first = {imported.split('.')[0] for imported in names}
        assert not first & {'tools', 'benchmarks', 'reproduction', 'studies'}, name
        if part(name) in bottom:
            assert not first & {'mmengine', 'mmpretrain', 'mmcv'}, name


def test_no_package_of_the_tools_has_the_name_of_a_command():
    """``tools`` is the first place that a command imports from."""
    names = [path.stem for path in (ROOT / 'tools').iterdir() if not path.name.startswith('_')]
    assert len(set(names)) == len(names)
