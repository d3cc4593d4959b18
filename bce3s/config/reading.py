"""Config files, read from this machine and changed by options."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.config.keys import BUILDER_KEYS, LOADERS, check_keys, closest, known_keys, short
from bce3s.errors import BCE3SError
from bce3s.packaged import CONFIGS, config_file

if TYPE_CHECKING:
    from mmengine.config import Config

# of the training set and of the evaluation set that belongs to it
SHARED = {
    *('data_root', 'lists', 'manifest', 'multilabel', 'verify', 'duplicates'),
    *('imbalance', 'imbalance_factor', 'n_max', 'rule', 'keep_classes', 'val_per_class'),
}
NOT_THE_EXPERIMENT = {
    *('work_dir', 'resume', 'load_from', 'launcher', 'randomness', 'experiment_name', 'env_cfg'),
    *('log_level', 'log_processor', 'default_hooks', 'visualizer', 'vis_backends'),
    'model_wrapper_cfg',
}


def load_config(path: str, options: Iterable[str] = (), data_root: str | None = None) -> Config:
    """Reads a config file, applies ``--cfg-options`` and ``--data-root``, and checks the keys.

    Raises:
        BCE3SError: no such file, a mistake in it, an unknown key.
    """
    cfg = read_config(config_file(path))
    apply_options(cfg, options)
    share_shape(cfg)
    if data_root is not None:
        set_data_root(cfg, data_root)
    check_keys(cfg)
    cfg.setdefault('default_scope', 'bce3s')
    return cfg


def share_shape(cfg: Config) -> None:
    """What shapes the training set, and where its files are, holds for the evaluation set of the
    same kind too, unless that says otherwise: Many, Medium and Few follow from training counts.
    """
    train = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    for name in LOADERS[1:]:
        data = (cfg.get(name) or {}).get('dataset') or {}
        if data and data.get('type') == train.get('type'):
            for key in SHARED & train.keys():
                data.setdefault(key, train[key])


def set_data_root(cfg: Config, folder: str) -> None:
    """``--data-root``: where the files of all data sets are."""
    if 'own_data' in cfg:
        cfg.data_root = folder
    for name in LOADERS:
        if data := (cfg.get(name) or {}).get('dataset'):
            data.data_root = folder


def experiment(cfg: Mapping) -> dict[str, Any]:
    """What of a config decides what is trained: not where it is written and how it is logged."""
    kept = {key: value for key, value in cfg.items() if key not in NOT_THE_EXPERIMENT}
    if schedule := (cfg.get('default_hooks') or {}).get('schedule'):
        kept['default_hooks'] = dict(schedule=schedule)
    return kept


# ------------------------------------------------------------ reading
def read_config(path: str) -> Config:
    """The config of a Python file and of those that its ``_base_`` names.

    Raises:
        BCE3SError: one is missing, elsewhere, no Python, or goes wrong (with file and line).
    """
    from mmengine.config import Config

    try:
        _check_files(path)
        return Config.fromfile(path)
    except BCE3SError:
        raise
    except Exception as error:  # a config is code, which can raise anything
        said = str(error).splitlines()[0][:300] if str(error) else ''
        raise BCE3SError(
            f'{_place(error, path)}: the config cannot be read: {type(error).__name__}: {said}'
        ) from error


def _check_files(name: str, place: str = '', depth: int = 0) -> None:
    """All files of a config are Python files on this machine: MMEngine would run what a YAML file
    names. ``_base_`` is read from the text, so that nothing has run when one is refused.
    """
    if re.search(r'\w:/|^//', name):
        raise BCE3SError(
            f'{place}{name} is not on this machine. Config files are Python code and are never '
            'fetched: read it, copy it here, and name the copy.'
        )
    if not name.endswith('.py'):
        raise BCE3SError(f'{place}config files are Python files, NAME.py; {name!r} is not.')
    if not Path(name).is_file():
        known = [f'configs/{p.relative_to(CONFIGS).as_posix()}' for p in CONFIGS.rglob('*.py')]
        near = get_close_matches(name, known, n=1)
        hint = f'Did you mean {near[0]}?' if near else 'Check the path.'
        raise BCE3SError(f'{place}Config file {name} does not exist. {hint}')
    if depth > 20:
        raise BCE3SError(f'{place}{name} is its own base.')
    for node in ast.parse(Path(name).read_bytes(), filename=name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            for part in ast.walk(node.value):
                base = part.value if isinstance(part, ast.Constant) else None
                if isinstance(base, str) and '::' not in base:  # of an installed package
                    elsewhere = re.search(r'\w:/|^//', base)
                    base = base if elsewhere else str(Path(name).parent / base)
                    _check_files(base, f'{name}:{part.lineno}: ', depth + 1)


def _place(error: Exception, path: str) -> str:
    """The last line of a config file that the error passed through."""
    place = path
    if isinstance(error, SyntaxError) and error.filename:
        place = f'{error.filename}:{error.lineno}'
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if frame.f_code.co_name == '<module>' and name.endswith('.py') and Path(name).is_file():
            place = f'{name}:{line}'
    return place


# ------------------------------------------------------------ --cfg-options
# Text whatever it looks like: a path may hold commas, brackets and equals signs.
PATHS = {'data_root', 'root', 'pretrained', 'work_dir', 'load_from', 'checkpoint'}


def apply_options(cfg: Config, options: Iterable[str]) -> None:
    """Merges ``KEY=VALUE`` options into ``cfg``, one after the other: an argument may follow the
    ``type`` that takes it.

    Raises:
        BCE3SError: no ``=``; or a key that the config does not have and nothing would read.
    """
    for option in options:
        key, equals, text = option.partition('=')
        if not equals or not key:
            raise BCE3SError(
                f'--cfg-options {option}: write KEY=VALUE, in quotes where the value has blanks.'
            )
        check_option(cfg, key)
        node: Any = cfg._cfg_dict
        *above, name = key.split('.')
        for part in above:
            if isinstance(node, Mapping) and part not in node:
                node[part] = {}
            at = int(part) if isinstance(node, list) else part
            if isinstance(node[at], tuple):  # whose elements could not be set
                node[at] = list(node[at])
            node = node[at]
        last = int(name) if isinstance(node, list) else name
        present = node[last] if isinstance(node, list) else node.get(last)
        try:
            value = _value(name, text, present)
        except BCE3SError as error:
            raise BCE3SError(f'--cfg-options {option[:100]}: {error}') from error
        if isinstance(present, dict | list | tuple) and isinstance(value, str | int | float):
            kind = 'a dict' if isinstance(present, dict) else 'a list'
            raise BCE3SError(f'--cfg-options {option[:100]}: it must be {kind}.')
        if last != '_delete_':
            node[last] = value
        elif value is True:  # what follows stands alone
            node.clear()


def check_option(cfg: Config, dotted: str) -> None:
    """Raises BCE3SError where ``dotted`` names nothing that the config has or something reads."""
    node: Any = cfg._cfg_dict
    parts = dotted.split('.')
    said = f'--cfg-options {dotted}: '
    if parts[0] == 'custom_imports':
        raise BCE3SError(
            f'{said}imports take effect while the config file is read; write custom_imports = '
            'dict(imports=[...]) into it.'
        )
    for depth, part in enumerate(parts):
        path = '.'.join(parts[:depth])
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                raise BCE3SError(
                    f'{said}{path} is a list of {len(node)}; write an index below that, not '
                    f'{part!r}.'
                )
            node = node[int(part)]
        elif not isinstance(node, Mapping):
            raise BCE3SError(f'{said}{path} is {short(node)} and has no keys.')
        elif part in node:
            node = node[part]
        else:
            names, is_open = known_keys(path, node)
            known = part in names or (path and part in BUILDER_KEYS)
            if not known and (not is_open or closest(part, names, 0.8)):
                likely = closest(part, {*names, *node})
                raise BCE3SError(f'{said}{path or "the config"} has no key {part!r}.{likely}')
            if any(later.isdigit() for later in parts[depth + 1 :]):
                raise BCE3SError(f'{said}{path or "the config"} has no list {part!r} yet.')
            return


def _value(key: str, text: str, present: Any) -> Any:
    """Where a text stands already, a comma makes no list."""
    from mmengine.config import DictAction

    if key in PATHS and not isinstance(present, dict | bool):
        quoted = re.fullmatch(r'([\'"]).+\1', text)
        return text[1:-1] if quoted else None if text == 'None' else text
    if isinstance(present, str) and not text.startswith(('[', '(', '{', 'dict(', '"', "'")):
        return DictAction._parse_int_float_bool(text)
    return _alone(parse_value(text))


def _alone(value: Any) -> Any:
    """Without ``_delete_``: a dict that an option gives takes the place of another anyway."""
    if isinstance(value, dict):
        return {key: _alone(inner) for key, inner in value.items() if key != '_delete_'}
    return type(value)(map(_alone, value)) if isinstance(value, list | tuple) else value


def parse_value(text: str) -> Any:
    """What ``KEY=TEXT`` sets: as OpenMMLab reads it, and any Python literal.

    A number, ``True``, ``False``, ``None`` or text; with commas or in ``[...]`` a list, in
    ``(...)`` a tuple; a dict as ``dict(type='X', a=1)`` or ``{'type': 'X'}``; in each other as
    often as wanted. Names need no quotes.

    Raises:
        BCE3SError: brackets that do not belong together, or text with brackets and commas.
    """
    from mmengine.config import DictAction

    text = text.strip()
    try:
        node = ast.parse(text, mode='eval').body
        value = _of_python(node)
        bare = isinstance(node, ast.Tuple) and node.elts[:1] and node.elts[0].col_offset == 0
        return list(value) if bare else value
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass  # such as /a/path
    if ',' not in text and not text.startswith(('[', '(')):
        return DictAction._parse_int_float_bool(text.strip(' \'"'))
    kind = {'[]': list, '()': tuple}.get(text[0] + text[-1])
    inner = text[1:-1] if kind else text
    if re.search(r'[\[\]()]', inner):
        raise BCE3SError(f'{short(text)} is no Python value: put what is text in quotes.')
    return (kind or list)(parse_value(part) for part in inner.split(',') if part.strip())


def _of_python(node: ast.expr) -> Any:
    """The value of an expression of literals, ``dict(...)`` and names, which are text.

    Raises:
        ValueError: it has anything else in it.
    """
    from mmengine.config import DictAction

    if isinstance(node, ast.List):
        return [_of_python(element) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_of_python(element) for element in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_of_python(key)): _of_python(value) for key, value in pairs}
    if isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) == 'dict':
        return {str(word.arg): _of_python(word.value) for word in node.keywords}
    if isinstance(node, ast.Name | ast.Attribute):
        return DictAction._parse_int_float_bool(ast.unparse(node))
    return ast.literal_eval(node)
