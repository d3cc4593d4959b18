"""What the names and the counts of classes tell."""

import unicodedata

import numpy as np
import pytest

from bce3s.own_data.label_checks import doubtful_names, few_images, twin_names, unmeasured


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('Dog', 'dog'),
        ('polar bear', 'polar_bear'),
        ('polar-bear', 'PolarBear'),
        ('café', unicodedata.normalize('NFD', 'café')),
        ('dog', 'dogs'),
        ('berry', 'berries'),
        ('box', 'Boxes'),
        ('1', '01'),
        ('cat', 'cat (2)'),
        ('cat', 'Cat - Copy'),
        ('cat', 'copy of cat'),
        ('ﬁsh', 'fish'),
    ],
)
def test_names_of_one_class(first, second):
    expected = [tuple(sorted((first, second)))]
    assert twin_names(['horse', first, second, 'mouse']) == expected
    assert twin_names([second, first]) == expected


def test_names_of_several_classes():
    names = ['bus', 'buses', 'bat', 'bats', 'photo', 'photocopy', '1', '10', '1s', 'cat', 'cattle']
    assert twin_names(names) == [('bat', 'bats'), ('bus', 'buses')]
    assert twin_names([f'class {i}' for i in range(200)]) == []
    assert twin_names([]) == []
    assert twin_names(['-', '_', '漢', '字']) == []
    assert twin_names(['a', 'A', ' a']) == [(' a', 'A'), (' a', 'a'), ('A', 'a')]


def test_names_of_many_classes_take_no_time():
    names = [f'{a}{b}' for a in 'bcdfghjklm' for b in np.arange(1000).astype(str)]
    assert twin_names(names) == []


def test_leftovers():
    names = [
        'New folder',
        'New Folder (2)',
        'MISC',
        'unlabelled',
        'tmp',
        'other',
        '0_other',
        'background',
        'otter',
        'temple',
    ]
    (twins, leftovers) = doubtful_names(names)
    assert twins.lines == ["'New Folder (2)' and 'New folder'"]
    assert leftovers.lines == [repr(name) for name in names[:8]]
    assert leftovers.headline.startswith('8 classes are called')
    assert doubtful_names(['otter', 'temple']) == []
    assert doubtful_names(['cat', 'unknown'])[0].headline.startswith('1 class is called')


def test_a_class_called_like_a_rejection():
    (finding,) = doubtful_names(['cat', 'None of these'])
    assert (finding.kind, finding.lines) == ('rejection_name', ["'None of these'"])


def test_counts():
    assert few_images(['a', 'b'], [5, 500]) == []
    (finding,) = few_images(['a', 'b', 'c', 'd'], [4, 1, 9, 0])
    assert finding.lines == ['d: 0 images', 'b: 1 image', 'a: 4 images']
    assert finding.headline.startswith(
        '3 classes have under 5 training images (1 of them one only, 1 none): '
    )
    assert few_images(['a'], [4])[0].headline.startswith('1 class has under 5 training images: ')
    assert unmeasured(['a', 'b'], [1, 2]) == []
    (finding,) = unmeasured(['a', 'b'], [1, 0])
    assert finding.lines == ['b']
