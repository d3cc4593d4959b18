"""Accuracy at the level of what classes belong to, in the report of a run that knows it."""

import json

import numpy as np
import pytest
from trained_runs import digits_run

from bce3s import cli
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.evaluation.hierarchy import parent_accuracy
from bce3s.evaluation.report import format_markdown, read_report


def test_a_test_tells_the_accuracy_of_parents(tmp_path):
    folder = digits_run(tmp_path / 'run')
    assert 'parents' not in json.loads((folder / 'report.json').read_text())
    rows = [f'{k},{"low" if k < 5 else "high"}' for k in range(10)]
    (folder / 'parents.csv').write_text('\n'.join(['class,parent', *rows]))
    assert cli.main('test', [str(folder), '--cfg-options', 'visualizer=None']) == 0
    report = read_report(folder / 'test')
    outputs = run_outputs(RunDirectory.open(folder), 'val')
    of = np.array([1] * 5 + [0] * 5)  # in the order of the names, high and low
    expected = parent_accuracy(outputs.logits, outputs.labels, of, sigmoid=True)
    assert report['parents'] == pytest.approx(expected)
    line = f'At least what the class belongs to is right for {report["parents"]["all"]:.2f} %'
    assert line in format_markdown(report)
