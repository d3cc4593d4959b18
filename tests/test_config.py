"""Configs: read from this machine, options set as they are meant, mistakes named."""

import os
import re
import sys
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import DictAction
from mmengine.optim import build_optim_wrapper

from bce3s.config import explain, load_config, parse_value, read_config
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS, MODELS

CONFIG = str(Path(__file__).parents[1] / 'configs/bce3s/digits.py')


# ------------------------------------------------------------ files
@pytest.fixture
def write(tmp_path):
    def run(text, name='a.py'):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return run


def test_a_config_with_bases_is_read(write):
    write('a = 1\nb = dict(c=2, d=3)\n', 'base.py')
    cfg = read_config(write("_base_ = ['./base.py']\nb = dict(c=4)\n"))
    assert (cfg.a, cfg.b) == (1, dict(c=4, d=3))


@pytest.mark.parametrize(
    'name',
    [
        'http://example.org/a.py',
        'https://example.org/a.py',
        's3://bucket/a.py',
        'petrel://bucket/a.py',
        'file:///etc/a.py',
        '//host/share/a.py',
    ],
)
def test_what_is_elsewhere_is_refused_before_anything_runs(write, name):
    with pytest.raises(BCE3SError, match=r'is not on this machine\. Config files are Python code'):
        read_config(name)
    text = f"import sys\nsys.was_run = True\n_base_ = ['./base.py', {name!r}]\n"
    write('import sys\nsys.was_run = True\n', 'base.py')
    with pytest.raises(BCE3SError, match=rf'a\.py:3: {re.escape(name)} is not on this machine'):
        read_config(write(text))
    assert not hasattr(sys, 'was_run')


def test_a_base_of_a_base_is_looked_at_too(write):
    write("_base_ = 'https://example.org/a.py'\n", 'base.py')
    with pytest.raises(BCE3SError, match=r'base\.py:1: https'):
        read_config(write("_base_ = './base.py'\n"))


@pytest.mark.parametrize('name', ['a.yaml', 'a.yml', 'a.json', 'a'])
def test_only_python_files_are_configs(write, name):
    """MMEngine reads YAML with a loader that calls what the file names."""
    path = write('a: !!python/object/apply:os.mkdir [made]\n', name)
    with pytest.raises(BCE3SError, match='config files are Python files'):
        read_config(path)
    with pytest.raises(BCE3SError, match=r'b\.py:1: config files are Python files'):
        read_config(write(f"_base_ = './{name}'\n", 'b.py'))
    assert not os.path.exists('made')


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a = 1\nb = (\n', r'a\.py:2: the config cannot be read: .*never closed'),
        ('a = 1\nb = c\n', r"a\.py:2: the config cannot be read: NameError: name 'c'"),
        ('a = 1\n\nb = a / 0\n', r'a\.py:3: .*ZeroDivisionError'),
        ("_base_ = './missing.py'\n", r'a\.py:1: Config file .*missing\.py does not exist'),
        ("_base_ = './a.py'\n", r'a\.py is its own base'),
        ('a = "\0"\n', r'cannot be read'),
    ],
)
def test_a_mistake_is_named_with_its_line(write, text, words):
    with pytest.raises(BCE3SError, match=words):
        read_config(write(text))


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(BCE3SError, match=r'Config file .*x\.py does not exist'):
        read_config(str(tmp_path / 'x.py'))


def test_a_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / 'pipe.py'
    os.mkfifo(pipe)
    with pytest.raises(BCE3SError, match='does not exist'):
        read_config(str(pipe))


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


@pytest.mark.parametrize('text', ['[1,2', '(1]', '(' * 50, '[' * 2000, '[[/a], b]'])
def test_brackets_that_do_not_belong_together(text):
    with pytest.raises(BCE3SError, match='is no Python value'):
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


@pytest.mark.parametrize(
    ('text', 'value'),
    [("'/my images/a, b'", '/my images/a, b'), ('None', None), ("'None'", 'None')],
)
def test_quotes_around_the_whole_path_are_no_part_of_it(text, value):
    assert load_config(CONFIG, [f'load_from={text}']).load_from == value


def test_a_text_is_replaced_by_a_text_or_by_what_is_in_brackets():
    options = ['log_level=a,b', 'model.neck=[dict(type=GlobalAveragePooling)]']
    options.append('model.backbone.init_cfg=[dict(type=Kaiming,layer=Conv2d)]')
    cfg = load_config(CONFIG, options)
    assert cfg.log_level == 'a,b'
    assert [part.type for part in cfg.model.neck] == ['GlobalAveragePooling']
    assert cfg.model.backbone.init_cfg == [dict(type='Kaiming', layer='Conv2d')]


# ------------------------------------------------------------ a whole config
@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('train_cfg.max_epochs=abc', 'must be an integer'),
        ('train_cfg.max_epochs=0', 'must be an integer of at least 1'),
        ('train_cfg.max_epochs=1e2', 'must be an integer'),
        ('train_dataloader.batch_size=0', 'must be an integer of at least 1'),
        ('optim_wrapper.clip_grad.max_norm=abc', "max_norm is 'abc', but must be a number above 0"),
        ('optim_wrapper.clip_grad.max_norm=-1', 'max_norm is -1, but must be a number above 0'),
        ('train_dataloader.num_workers=two', 'must be an integer'),
        ('model=5', 'it must be a dict'),
        ('model.backbone=resnet', 'it must be a dict'),
        ('model.data_preprocessor.mean=a', 'it must be a list'),
        ('randomness.seed=x', 'must be an integer of at least 0'),
        ('optim_wrapper.optimizer.type=-1', "no optimizer is called '-1'"),
        ('optim_wrapper.optimizer.type=', "no optimizer is called ''"),
        ('optim_wrapper.optimizer.type=Adamm', "no optimizer is called 'Adamm'.*mean 'Adam"),
        ('visualizer.vis_backends=4', 'it must be a list'),
        ('visualizer.vis_backends.0=4', 'it must be a dict'),
        ('model.__class__=x', 'has no key'),
        ('__class__.x=1', 'has no key'),
        ('a..b=1', 'has no key'),
        ('train_cfg.max_epochs.x=1', 'has no keys'),
        ('custom_imports.imports=os', 'while the config file is read'),
        ('_base_=x.py', 'has no key'),
        ('_delete_=True', 'the config has no key'),
        ('custom_hooks.0.type=EmptyCacheHook', "has no list 'custom_hooks' yet"),
        ('model.head.joint=((', 'put what is text in quotes'),
    ],
)
def test_a_wrong_value_is_one_sentence(option, words):
    with pytest.raises(BCE3SError, match=words) as caught:
        load_config(CONFIG, [option])
    said = str(caught.value)
    assert option.partition('=')[0].partition('.')[0] in said or 'is called' in said


def test_dicts_and_lists_of_dicts_are_set():
    options = ["model.head.joint=dict(type='CEJoint')", 'custom_hooks=[dict(type=EmptyCacheHook)]']
    cfg = load_config(CONFIG, [*options, 'custom_hooks.0.after_iter=True'])
    assert cfg.model.head.joint == dict(type='CEJoint')
    assert cfg.custom_hooks == [dict(type='EmptyCacheHook', after_iter=True)]
    for options in (
        ['model.head.joint._delete_=True', 'model.head.joint.type=CEJoint'],
        ["model.head.joint=dict(_delete_=True, type='CEJoint')"],  # as a config would have it
    ):
        assert load_config(CONFIG, options).model.head.joint == dict(type='CEJoint')


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
    try:
        model = MODELS.build(dict(cfg.model, _scope_='bce3s'))
        build_optim_wrapper(model, dict(cfg.optim_wrapper))
        for hook in cfg.default_hooks.values():
            HOOKS.build(hook)
    except Exception as error:
        return explain(error, cfg)


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model.head.joint.type=torch.nn.Linear', r'torch\.nn\.Linear takes no argument'),
        ('optim_wrapper.optimizer.lr=fast', r'SGD \(at optim_wrapper.optimizer\) cannot be built'),
        ('model.head.num_classes=-1', 'cannot be built'),
        ('default_hooks.schedule.lr=fast', r'TwoStageHook \(at default_hooks.schedule\) cannot'),
        ('default_hooks.checkpoint.interval=often', 'RunCheckpointHook .* cannot be built'),
        ('model.backbone.type=torch.nn.Linear', r'torch\.nn\.Linear'),
        ('model.head.joint.type=Nothing', "no model is called 'Nothing'.*custom_imports.imports"),
        ('model.head.joint._delete_=True', 'cannot be built'),
    ],
)
def test_what_cannot_be_built_is_one_sentence(option, words):
    assert re.search(words, unbuilt(option))


def test_an_error_of_no_constructor_is_left_alone():
    error = ValueError('of the training')
    assert explain(error, load_config(CONFIG, [])) is None


# ------------------------------------------------------------ what OpenMMLab's users have
def test_configs_of_mmpretrain_pass():
    """Every eighth: nothing in them is unknown. What MMEngine itself cannot read is not ours."""
    root = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
    paths = [path for path in sorted(root.glob('*/*.py')) if path.parent.name != '_base_'][::8]
    refused = {}
    for path in paths:
        try:
            load_config(str(path))
        except BCE3SError as error:
            if 'the config cannot be read' not in str(error):
                refused[path.name] = str(error)
    assert len(paths) > 50
    assert refused == {}


# ------------------------------------------------------------ --data-root
def test_the_data_root_is_that_of_every_loader():
    cfg = load_config('configs/bce3s/cifar100lt_if100_r32.py', data_root='/my, data')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.data_root == '/my, data'
    assert load_config('configs/bce3s/my_folder.py', data_root='x').data_root == 'x'
