"""``--cfg-options`` and config files, from nearly right to nonsense."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from checkpoints import folder
from fuzzing import Target
from hypothesis import strategies as st
from mutations import edited, edits, texts

from bce3s.errors import BCE3SError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = (
    'configs/bce3s/digits.py',
    'configs/baselines/digits_ce.py',
    'configs/bce3s/cifar100lt_if100_r32.py',
)
WORDS = ['__class__', '_base_', '_delete_', '_scope_', 'type', '__init__', '0', '-1', '99', 'keys']
VALUES = [
    *('abc', '-1', '0', '1', '2', '1.5', '1e2', 'nan', 'inf', '-inf', '1e999', 'None', 'True'),
    *('[1,2]', '(1,2)', '[]', '()', '[[[]]]', '[', ')', '((', '1,2', ',', '"a"', 'dict(a=1)', '{}'),
    *('9' * 30, '9' * 5000, 'x' * 3000, '[' * 50 + ']' * 50, '[' * 2000, '1,' * 1500, '__import__'),
    *('SGD', 'AdamW', 'ResNet', 'os.system', 'builtins.print', 'mmengine::SGD', 'http://x/y.py'),
]


@functools.cache
def loaded(name: str) -> Any:
    from bce3s.config import load_config

    return load_config(str(ROOT / name), [])


@functools.cache
def keys(name: str) -> list[str]:
    """Every dotted path of a config."""
    return sorted(_paths(loaded(name)._cfg_dict))


def _paths(node: Any, path: str = '') -> Iterator[str]:
    if path:
        yield path
    children = node.items() if hasattr(node, 'items') else ()
    if isinstance(node, list | tuple):
        children = ((str(i), child) for i, child in enumerate(node))
    for key, child in children:
        yield from _paths(child, f'{path}.{key}' if path else key)


def _keys(name: str) -> st.SearchStrategy[str]:
    known = st.deferred(lambda: st.sampled_from(keys(name)))
    longer = st.tuples(known, st.sampled_from(WORDS) | texts()).map('.'.join)
    slip = st.tuples(known, st.integers(0, 60)).map(lambda p: p[0][: p[1]] + p[0][p[1] + 1 :])
    made = st.lists(st.sampled_from(WORDS) | texts(), max_size=4).map('.'.join)
    return st.one_of(known, known, longer, slip, made)


def _options(name: str, most: int) -> st.SearchStrategy[list[str]]:
    value = st.sampled_from(VALUES) | texts()
    option = st.tuples(_keys(name), st.sampled_from(['='] * 15 + ['', '==']), value)
    return st.lists(option.map(''.join), min_size=1, max_size=most)


def _cases() -> st.SearchStrategy[tuple]:
    return st.sampled_from(CONFIGS).flatmap(
        lambda name: st.tuples(st.just(name), _options(name, 4))
    )


def configured(case: tuple) -> Any:
    from bce3s.config import apply_options, check_keys

    name, options = case
    cfg = deepcopy(loaded(name))
    apply_options(cfg, list(options))
    check_keys(cfg)
    return cfg


def run_options(case: tuple) -> str:
    configured(case)
    return 'ok'


# ------------------------------------------------------------ up to building what they describe
SMALL = CONFIGS[0]
# a network of any size can be asked for, and a loader with any number of workers
BUILT = (
    'model',
    'train_dataloader',
    'val_evaluator',
    'default_hooks',
    'custom_hooks',
    'optim_wrapper',
)


def _build_cases() -> st.SearchStrategy[tuple]:
    inside = st.deferred(
        lambda: st.sampled_from([k for k in keys(SMALL) if k.startswith(BUILT) and '.' in k])
    )
    numbers = ['-1', '0', '1', '2', '3', '5', '0.5', '1e-3', '7.5', '100', 'nan', 'inf', '-0.1']
    words = ['abc', '', 'None', 'True', '[]', '[1,2]', '(1,2,3)', 'SGD', 'LinearLR', 'ResNet']
    value = st.sampled_from(numbers * 2 + words)
    option = st.tuples(inside, st.just('='), value).map(''.join)
    return st.tuples(st.just(SMALL), st.lists(option, min_size=1, max_size=2))


def run_building(case: tuple) -> str:
    """Builds the parts of a run as the runner does; errors are explained as ``cli`` does."""
    from bce3s.config import explain

    cfg = configured(case)
    cfg.train_dataloader.num_workers = 0
    try:
        return build(cfg)
    except BCE3SError:
        raise
    except Exception as error:
        sentence = explain(error, cfg)
        if sentence is None:
            raise
        raise BCE3SError(sentence) from error


def build(cfg: Any) -> str:
    from mmengine.evaluator import Evaluator
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from bce3s.registry import HOOKS, MODELS

    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    build_optim_wrapper(model, deepcopy(cfg.optim_wrapper))
    Runner.build_dataloader(deepcopy(cfg.train_dataloader), seed=0)
    Evaluator(deepcopy(cfg.val_evaluator))
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        if hook is not None:
            HOOKS.build(deepcopy(hook))
    return 'ok'


# ------------------------------------------------------------ config files
BASES = [
    b"_base_ = './config.py'\n",
    b"_base_ = './base.py'\nmodel = dict(type='ImageClassifier')\n",
    b"_base_ = ['./base.py', 'http://example.org/a.py']\n",
    b"_base_ = 'https://example.org/a.py'\n",
    b"_base_ = 'mmpretrain::_base_/default_runtime.py'\n",
    b"train_cfg = dict(max_epochs=1)\nmodel = dict(type='A', head=dict(a=[1, (2, 3)]))\n",
    b"work_dir = 'runs/{{ fileBasenameNoExtension }}'\nload_from = '{{_base_.load_from}}'\n",
]
TOKENS = [b"'", b'"', b'_base_', b'=', b'(', b')', b'\n', b'{{', b'}}', b'dict(', b'://', b'::']
TOKENS += [
    b'import os\n',
    b'lambda: 0',
    b'# coding: utf-7\n',
    b'\\',
    b's3://b/',
    b'_base_ = _base_\n',
]


def _file_cases() -> st.SearchStrategy[tuple]:
    return st.tuples(st.integers(0, len(BASES) - 1), edits(TOKENS, most=4))


def run_file(case: tuple) -> str:
    """The code of these files does nothing: they hold no name but ``dict``."""
    from bce3s.config import read_config

    base, changes = case
    where = folder()
    (where / 'base.py').write_text("load_from = None\ndefault_scope = 'bce3s'\n")
    path = where / 'config.py'
    path.write_bytes(edited(BASES[base % len(BASES)], changes))
    before = os.getcwd()
    read_config(str(path))
    assert os.getcwd() == before
    return 'ok'


TARGETS = [
    Target('options', _cases, run_options, share=2),
    Target('options_build', _build_cases, run_building, seconds=20, share=0.2),
    Target('config_files', _file_cases, run_file, share=0.7),
]
