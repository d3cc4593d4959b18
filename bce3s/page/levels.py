"""How often the class is right, and how often at least what it belongs to."""

from __future__ import annotations

from bce3s.datasets.parents import Parents, read_parents
from bce3s.evaluation.hierarchy import parent_accuracy
from bce3s.page.calibration import probabilities
from bce3s.page.content import Section, Table
from bce3s.page.runs import PageRun, measured
from bce3s.tables import mean_std
from bce3s.wording import counted

TEXT = """\
Classes that belong together have a parent (parents.csv in the run's folder). What a parent scores
follows from its children: of softmax scores the sum, of sigmoids the chance that any of them is
there. "All" is the mean over the classes, or over the parents, whichever is called."""


def levels(runs: list[PageRun]) -> Section | None:
    """Accuracy of classes and of parents, of the runs that have some.

    Raises:
        BCE3SError: a ``parents.csv`` that does not fit the classes.
    """
    rows = []
    for group in measured(runs):
        read = ((run, read_parents(run.folder, run.outputs.classes)) for run in group.runs)
        some = [(run, parents) for run, parents in read if parents is not None]
        if not some:
            continue
        found = [_of_parents(run, parents) for run, parents in some]
        above = {len(parents.names) for _, parents in some}
        classes = counted(len(group.counts), 'class')
        plain = mean_std([run.report['accuracy'] for run, _ in some])
        rows.append([group.name, classes, mean_std([r.report['all'] for r, _ in some]), plain])
        figures = [mean_std([one[key] for one in found]) for key in ('all', 'plain')]
        rows.append([group.name, counted(max(above), 'parent'), *figures])
    if not rows:
        return None
    table = Table(['Runs', 'Level', 'All', 'All images alike'], rows, 'Accuracy (%)', left=2)
    return Section('levels', 'Classes and their parents', TEXT, tables=[table])


def _of_parents(run: PageRun, parents: Parents) -> dict[str, float]:
    kind = probabilities(run)
    sigmoid = kind is not None and kind.name == 'sigmoid'
    return parent_accuracy(run.outputs.logits, run.outputs.labels, parents.of, sigmoid)
