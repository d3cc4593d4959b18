"""Configs: read from this machine, changed by options, checked for keys that nothing reads."""

from bce3s.config.keys import explain, explained, typed_dicts
from bce3s.config.reading import (
    apply_options,
    check_keys,
    check_option,
    experiment,
    load_config,
    parse_value,
    read_config,
)

__all__ = [
    'apply_options',
    'check_keys',
    'check_option',
    'experiment',
    'explain',
    'explained',
    'load_config',
    'parse_value',
    'read_config',
    'typed_dicts',
]
