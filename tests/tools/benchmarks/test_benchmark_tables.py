"""Tables as they are printed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.tables import Table, cell


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, ''),
        ('a|b', 'a|b'),
        (True, 'yes'),
        (1234567, '1,234,567'),
        (0.0, '0'),
        (1.0, '1.00'),
        (9.999, '10.0'),
        (0.0999999, '0.100'),
        (12.345, '12.3'),
        (-0.00123456, '-0.00123'),
        (1234.5, '1,230'),
        (98765.4, '98,800'),
        (1.5e-7, '1.50e-07'),
        (2.346e11, '2.35e+11'),
        (float('nan'), ''),
        (float('inf'), ''),
        (np.float64(2.5), '2.50'),
        (torch.tensor(3), '3'),
    ],
)
def test_a_cell_has_three_digits(value, text):
    assert cell(value) == text


@pytest.fixture
def table():
    rows = [dict(way='ours', rate=1234.5), dict(way='a|b', rate=None), dict(way='plain')]
    return Table('Rates', ('way', 'rate'), rows, ['A note.'])


def test_text_is_aligned_words_left_numbers_right(table):
    assert table.text().splitlines() == [
        'Rates',
        'way     rate',
        '-----  -----',
        'ours   1,230',
        'a|b',
        'plain',
        'A note.',
    ]


def test_markdown(table):
    assert table.markdown() == (
        '**Rates**\n\n| way | rate |\n| --- | ---: |\n| ours | 1,230 |\n'
        '| a\\|b |  |\n| plain |  |\n\nA note.'
    )


def test_json_has_plain_types_and_whole_numbers(table):
    table.rows.append(dict(way='bad', rate=np.float32('nan')))
    table.rows.append(dict(way='numpy', rate=np.int64(7)))
    read = json.loads(json.dumps(table.json(), allow_nan=False))
    assert read['columns'] == ['way', 'rate']
    assert [row['rate'] for row in read['rows']] == [1234.5, None, None, None, 7]
    assert (read['title'], read['notes']) == ('Rates', ['A note.'])


def test_an_empty_table_prints_its_head():
    assert Table('Nothing', ('a', 'bc')).text().splitlines() == ['Nothing', 'a  bc', '-  --']
