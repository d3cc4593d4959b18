"""Tables of what classes belong to."""

import pytest

from bce3s.datasets.parents import read_parents
from bce3s.errors import BCE3SError


def written(folder, text):
    (folder / 'parents.csv').write_text(text)
    return folder


def test_a_table_of_parents(tmp_path):
    assert read_parents(tmp_path, ['a']) is None
    text = '\ufeffparent,note,class\r\np10,,b\r\n"p9, x",?,a\r\np10,,c\r\np10,,c\r\n'
    found = read_parents(written(tmp_path, text), ['a', 'b', 'c'])
    assert found.names == ['p9, x', 'p10']
    assert found.of.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'no header'),
        ('class;parent\na;b\n', 'no header'),
        ('class,parent\nb,x\n', "1 class no parent, such as 'a'"),
        ('class,parent\na\n', r"parents.csv:2: .*'a' has none"),
        ('class,parent\na,x\na,y\n', r"parents.csv:3: .*'x' and 'y'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    with pytest.raises(BCE3SError, match=said):
        read_parents(written(tmp_path, text), ['a'])
