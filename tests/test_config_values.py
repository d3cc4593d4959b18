"""Values of --cfg-options: how text is read, and what is refused before anything is built."""

import re
from pathlib import Path
from typing import Any, Literal, Optional, Union

import mmpretrain
import pytest
import torch
from bce3s.config_values import building, parse_text, parse_value, wrong_values
from mmengine.config import DictAction

from bce3s.config import explain, load_config
from bce3s.errors import BCE3SError
from bce3s.registry import MODELS

CONFIG = str(Path(__file__).parents[1] / 'configs/bce3s/digits.py')


# ------------------------------------------------------------ text -> value
@pytest.mark.parametrize(
    'text',
    [
        *('1', '1.5', '-3', '1e-3', 'abc', 'None', 'True', 'false', 'nan?', '', '"x"', '1_000'),
        *('1,2', '[1,2]', '(1,2)', '[(1,2),(3,4)]', '[a, b, c]', '[]', '()', '[[1]]', '1,', '(1,)'),
    ],
)
def test_as_mmengine_reads_it(text):
    assert parse_value(text) == DictAction._parse_iterable(text)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),  # MMEngine: RecursionError
        ('/data/my images', '/data/my images'),  # without the blank
        ('9' * 5000, float('inf')),
        ('[1, [2, (3, x)]]', [1, [2, (3, 'x')]]),
    ],
)
def test_where_mmengine_fails(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize('text', ['[1,2', '1)', '(1]', '[(])', '[' * 50 + ']' * 50])
def test_brackets_that_do_not_belong_together(text):
    with pytest.raises(BCE3SError, match='rackets'):
        parse_value(text)


def test_long_text_is_read_in_linear_time():
    assert len(parse_value(','.join('1' * 100_000))) == 100_000


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ("dict(type='A', a=1)", {'type': 'A', 'a': 1}),
        ('dict(type=A,a=[1,x],b=None)', {'type': 'A', 'a': [1, 'x'], 'b': None}),
        ("[dict(type='A'), dict(n='B', c=(1, 2))]", [{'type': 'A'}, {'n': 'B', 'c': (1, 2)}]),
        ('[dict(type=A),dict(type=B)]', [{'type': 'A'}, {'type': 'B'}]),
        ("{'type': 'A', 'n': [0.5]}", {'type': 'A', 'n': [0.5]}),
        ('dict(type=A),dict(type=B)', [{'type': 'A'}, {'type': 'B'}]),
        ('["a,b", "c=[d]"]', ['a,b', 'c=[d]']),
        ('"a, b","it\'s"', ['a, b', "it's"]),
        ("it's,o'clock", ["it's", "o'clock"]),
        ('[/a/b, c.txt]', ['/a/b', 'c.txt']),
        ('(true,false,None)', (True, False, None)),
    ],
)
def test_dicts_lists_of_dicts_and_what_is_in_quotes(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


AWKWARD = [
    '/tmp/a,b=[c]',
    "it's (new), really",
    '"',
    '[x',
    'a]b',
    '007',
    '1.50,2',
    ' x ',
    '{a}',
    'a"b',
]


@pytest.mark.parametrize('path', AWKWARD)
@pytest.mark.parametrize(
    ('config', 'key'),
    [
        ('configs/bce3s/my_folder.py', 'data_root'),
        ('configs/bce3s/my_folder.py', 'own_data.pretrained'),
        ('configs/bce3s/digits.py', 'work_dir'),
        ('configs/bce3s/digits.py', 'load_from'),
        ('configs/bce3s/cifar100lt_if100_r32.py', 'train_dataloader.dataset.data_root'),
        ('configs/bce3s/places_lt_r50.py', 'val_dataloader.dataset.data_root'),
    ],
)
def test_a_path_is_taken_as_it_is_written(config, key, path):
    node = load_config(str(Path(CONFIG).parents[2] / config), [f'{key}={path}'])
    for part in key.split('.'):
        node = node[part]
    assert node == path


def test_quotes_around_the_whole_text_are_no_part_of_it():
    assert parse_text("'/my images/a, b'") == '/my images/a, b'
    assert parse_text('None') is None
    assert parse_text("'None'") == 'None'


def test_a_text_is_replaced_by_a_text_or_by_what_is_in_brackets():
    options = ['log_level=a,b', 'model.neck=[dict(type=GlobalAveragePooling)]']
    options.append('model.backbone.init_cfg=[dict(type=Kaiming,layer=Conv2d)]')
    cfg = load_config(CONFIG, options)
    assert cfg.log_level == 'a,b'
    assert [part.type for part in cfg.model.neck] == ['GlobalAveragePooling']
    assert cfg.model.backbone.init_cfg == [dict(type='Kaiming', layer='Conv2d')]


# ------------------------------------------------------------ value against annotation
def takes(function, value) -> bool:
    return not list(wrong_values([function], {'x': value}))


@pytest.mark.parametrize(
    ('kind', 'good', 'bad'),
    [
        (int, [1, -1], [1.5, 'a', True, None, [1]]),
        (float, [1, 0.5], ['a', True, None]),
        (bool, [True, 0], [2, 'a', None]),
        (str, ['a'], [1, None]),
        (Optional[int], [None, 1], ['a', 1.5]),  # noqa: UP045
        (int | None, [None, 1], ['a']),
        (tuple[float, ...], [[1, 2.5], (), (1,)], ['a', 1]),
        (list[str], [['a']], ['a', 1]),
        (dict | None, [None, {}], [1, 'a', []]),
        (Literal['a', 'b'], ['a'], [1]),
        (torch.nn.Module | dict, [{}], [1, 'a']),
        (Union[float, torch.Tensor], [1, 0.5], ['fast', None]),  # noqa: UP007
        (torch.dtype, ['float32', 1], []),
        (Any, [1, 'a', None, []], []),
    ],
)
def test_the_kind_that_is_declared(kind, good, bad):
    def reader(x):
        pass

    reader.__annotations__['x'] = kind
    reader.__module__ = 'bce3s.somewhere'
    assert all(takes(reader, value) for value in good)
    assert not any(takes(reader, value) for value in bad)


def test_annotations_of_others_are_not_relied_on():
    def reader(x: tuple[int]):
        pass

    reader.__module__ = 'mmpretrain.models'
    assert takes(reader, 'a')


# ------------------------------------------------------------ a whole config
@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('train_cfg.max_epochs=abc', 'it must be an integer'),
        ('train_cfg.max_epochs=0', 'it must be at least 1'),
        ('train_cfg.max_epochs=1e2', 'it must be an integer'),
        ('optim_wrapper.optimizer.lr=fast', 'it must be a number'),
        ('model.head.num_classes=-1', 'it must be at least 1'),
        ('train_dataloader.batch_size=0', 'it must be at least 1'),
        ('train_dataloader.num_workers=two', 'it must be an integer'),
        ('optim_wrapper.optimizer.type=-1', 'it must be the name of a class'),
        ('optim_wrapper.optimizer.type=', 'it must be the name of a class'),
        (
            'optim_wrapper.optimizer.type=Adamm',
            "no optimizer is called 'Adamm'. Did you mean 'Adam",
        ),
        ('model=5', 'it must be a dict'),
        ('model.backbone=resnet', 'it must be a dict'),
        ('model.data_preprocessor.mean=a', 'it must be a list'),
        ('randomness.seed=x', 'it must be an integer or None'),
        ('custom_hooks=4', 'it must be a list'),
        ('custom_hooks.0=4', 'it must be a dict'),
        ('default_hooks.schedule.lr=fast', 'it must be a number'),
        ('default_hooks.checkpoint.interval=often', 'it must be an integer'),
        ('model.__class__=x', 'has no key'),
        ('__class__.x=1', 'has no key'),
        ('a..b=1', 'has no key'),
        ('train_cfg.max_epochs.x=1', 'has no keys'),
        ('custom_imports.imports=os', 'while the config file is read'),
        ('_base_=x.py', 'has no key'),
        ('model.head.joint=((', 'Imbalanced brackets'),
    ],
)
def test_a_wrong_value_is_one_sentence(option, words):
    with pytest.raises(BCE3SError, match=words) as caught:
        load_config(CONFIG, [option])
    said = str(caught.value)
    assert option.partition('=')[0].partition('.')[0] in said or 'is called' in said


def test_sound_values_are_set():
    options = ['train_cfg.max_epochs=3', 'work_dir=3', 'model.data_preprocessor.mean=1,2.5']
    options += ['load_from=None', 'optim_wrapper.optimizer.nesterov=True']
    cfg = load_config(CONFIG, options)
    assert (cfg.train_cfg.max_epochs, cfg.work_dir, cfg.load_from) == (3, '3', None)
    assert cfg.model.data_preprocessor.mean == [1, 2.5]
    assert (
        load_config(CONFIG, ['model.data_preprocessor.mean.0=7']).model.data_preprocessor.mean[0]
        == 7
    )


def test_a_value_in_the_file_is_named_with_its_line(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(f"_base_ = {CONFIG!r}\n\ntrain_cfg = dict(\n    max_epochs='ten')\n")
    with pytest.raises(
        BCE3SError, match=r"a\.py:4: train_cfg\.max_epochs is 'ten', but must be an"
    ):
        load_config(str(path), [])


# ------------------------------------------------------------ what cannot be built
def unbuilt(*options):
    cfg = load_config(CONFIG, list(options))
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever the part raises)
        MODELS.build(dict(cfg.model, _scope_='bce3s'))
    return explain(caught.value, cfg)


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model.head.joint.type=torch.nn.Linear', r'torch\.nn\.Linear takes no argument'),
        ('model.backbone.type=torch.nn.Linear', r'torch\.nn\.Linear'),
        ('model.head.joint.type=Nothing', "no model is called 'Nothing'.*custom_imports.imports"),
        ('model.head.joint._delete_=True', 'cannot be built'),
    ],
)
def test_what_cannot_be_built_is_one_sentence(option, words):
    assert re.search(words, unbuilt(option))


def test_an_error_of_no_constructor_is_left_alone():
    error = ValueError('of the training')
    assert building(error) is None
    assert explain(error, load_config(CONFIG, [])) is None


# ------------------------------------------------------------ what OpenMMLab's users have
def test_configs_of_mmpretrain_pass():
    """Every tenth: nothing in them is unknown or of a wrong kind. What MMEngine itself cannot read
    is not ours.
    """
    root = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
    paths = [path for path in sorted(root.glob('*/*.py')) if path.parent.name != '_base_'][::10]
    refused = {}
    for path in paths:
        try:
            load_config(str(path), [])
        except BCE3SError as error:
            if 'the config cannot be read' not in str(error):
                refused[path.name] = str(error)
    assert len(paths) > 40
    assert refused == {}
