"""Tables as they are printed."""

import json

from benchmarks.tables import Table


def test_a_table_is_markdown_and_json():
    rows = [dict(way='ours', rate=1234.5), dict(way='a', rate=None), dict(way='plain')]
    table = Table('Rates', ('way', 'rate'), rows, ['A note.'])
    assert table.text() == (
        '**Rates**\n\n| way   |  rate |\n| ----- | ----: |\n| ours  | 1,230 |\n'
        '| a     |       |\n| plain |       |\n\nA note.'
    )
    assert json.loads(json.dumps(table.json()))['rows'][0] == {'way': 'ours', 'rate': 1234.5}
