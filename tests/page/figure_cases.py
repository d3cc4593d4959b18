"""Runs with outputs for the sections that draw them, and ways to look into what they made."""

from dataclasses import replace

import numpy as np
from page_cases import outputs
from page_cases import run as run_of


def run(name, tmp_path, full=False, images=20, **options):
    """One run; ``full``: with that many images of each class."""
    page_run = run_of(name, tmp_path, **options)
    if full:
        names, seed = page_run.report['classes'], page_run.report['seed']
        page_run.outputs = outputs(len(names), seed, images=images, names=names)
    return page_run


def with_unknown(page_run, shift=-1.0, seed=7):
    """Unknown images, whose largest logits are lower by ``shift`` on average."""
    rng, known = np.random.default_rng(seed), page_run.outputs
    logits = rng.normal(shift, 1, (60, known.logits.shape[1])).astype(np.float32)
    page_run.unknown = replace(known, logits=logits, labels=np.zeros(60, int), classes=['?'])
    return page_run


def changed(page_run, **arrays):
    page_run.outputs = replace(page_run.outputs, **arrays)
    return page_run


def table(section, title):
    found = [table for table in section.tables if title in table.caption]
    assert len(found) == 1, [table.caption for table in section.tables]
    return found[0]


def column(found, name):
    return [row[found.header.index(name)] for row in found.rows]
