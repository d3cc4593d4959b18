"""The page in a real browser: desktop and phone, light and dark, sorted and searched, printed.

Skipped where there is no Chromium.
"""

import json
import re
import shutil
import subprocess
import zlib
from html import escape, unescape

import numpy as np
import pytest
from page_cases import four_runs, run
from PIL import Image

from bce3s.page import page
from bce3s.page.classes import class_accuracy, class_table
from bce3s.page.curves import collapse
from bce3s.page.provenance import provenance
from bce3s.page.summary import summary

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason='no Chromium on this machine')

OWN = tuple((make, '') for make in (summary, class_accuracy, class_table, collapse, provenance))
# Tells what the browser makes of the page, before and after clicks, as JSON in the outer title.
PROBE = """
<script>
const found = {errors: []};
window.onerror = (message) => found.errors.push(message);
document.addEventListener('securitypolicyviolation', (e) => found.errors.push(e.violatedDirective));
window.addEventListener('load', () => {
  const style = (element) => getComputedStyle(element);
  const table = document.querySelector('table.interactive');
  const column = (i) => Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
    .map((row) => row.cells[i].textContent);
  const press = (i) => table.tHead.rows[0].cells[i].querySelector('button').click();
  const sorts = () => Array.from(table.tHead.rows[0].cells, (c) => c.getAttribute('aria-sort'));
  found.width = innerWidth;
  found.scroll = document.documentElement.scrollWidth;
  found.background = style(document.body).backgroundColor;
  found.ink = style(document.body).color;
  found.button = document.getElementById('theme').textContent;
  found.requests = performance.getEntriesByType('resource').length;
  found.images = Array.from(document.images, (i) => i.complete && i.naturalWidth && i.width);
  found.first = column(0);
  press(2);
  found.ascending = column(2);
  found.sorts = sorts();
  press(2);
  found.descending = column(2);
  found.sortsAgain = sorts();
  press(0);
  found.names = column(0);
  const input = document.querySelector('input[type=search]');
  input.value = 'CLASS 1';
  input.dispatchEvent(new Event('input'));
  found.searched = column(0);
  found.said = document.querySelector('.tools output').value;
  document.getElementById('theme').click();
  found.toggled = style(document.body).backgroundColor;
  parent.document.title = JSON.stringify(found);
});
</script></head>
"""


def browse(tmp_path, path, *arguments, dark=False):
    command = [
        BROWSER,
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--hide-scrollbars',
        '--enable-logging=stderr',
        f'--user-data-dir={tmp_path / "profile"}',
        f'--blink-settings=preferredColorScheme={0 if dark else 1}',
        *arguments,
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert 'CONSOLE' not in done.stderr, done.stderr
    return done.stdout


def probe(tmp_path, path, width, dark=False):
    """What ``PROBE`` finds on the page, in a frame: a window has at least 500 px."""
    inner = escape(path.read_text().replace('</head>', PROBE, 1))
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{inner}"></iframe>'
    outer = tmp_path / 'probe.html'
    outer.write_text(f'<!DOCTYPE html><meta charset="utf-8"><title></title>{frame}')
    dom = browse(tmp_path, outer, '--window-size=1400,1000', '--dump-dom', dark=dark)
    title = re.search(r'<title>(\{.*?\})</title>', dom, re.DOTALL)
    assert title, dom[:500]
    return json.loads(unescape(title[1]))


def screenshot(tmp_path, path, width, dark):
    file = tmp_path / 'shot.png'
    browse(tmp_path, path, f'--window-size={width},900', f'--screenshot={file}', dark=dark)
    return np.asarray(Image.open(file).convert('RGB'))


def write_page(path, runs):
    """Without the sections that need outputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, 'SECTIONS', OWN)
        sections = page.make_sections(runs, lambda _: None, lambda _: None)
    path.write_text(page.html('A page', sections))
    return path


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A page of four runs on 12 classes."""
    folder = tmp_path_factory.mktemp('pages')
    names = [f'class {k}' for k in range(12)]
    runs = four_runs(folder, full=True, classes=12, names=names)
    for one in runs:
        one.outputs = None  # or the table would name classes in other columns too
    return write_page(folder / 'small.html', runs)


def brightness(colour):
    return np.mean([int(value) for value in re.findall(r'\d+', colour)[:3]])


@pytest.mark.parametrize(('width', 'dark'), [(390, False), (1280, True)])
def test_it_works(small, tmp_path, width, dark):
    found = probe(tmp_path, small, width, dark)
    assert found['width'] == width
    assert found['scroll'] <= width
    assert found['errors'] == []
    assert found['requests'] == 0
    assert (brightness(found['background']) < 60) == dark
    assert (brightness(found['ink']) > 150) == dark
    assert found['button'] == ('Light' if dark else 'Dark')
    assert (brightness(found['toggled']) < 60) != dark
    assert len(found['images']) > 3
    assert all(200 < w < width for w in found['images'])
    # the worst first, then as the headers are clicked
    assert found['first'] != found['names']
    assert found['ascending'] == sorted(found['ascending'], key=int)
    assert found['descending'] == found['ascending'][::-1]
    assert found['sorts'] == [None, None, 'ascending', *[None] * (len(found['sorts']) - 3)]
    assert found['sortsAgain'][2] == 'descending'
    assert found['names'] == [f'class {k}' for k in range(12)]
    assert found['searched'] == ['class 1', 'class 10', 'class 11']
    assert found['said'] == '3 of 12 rows'


@pytest.mark.parametrize(('width', 'dark'), [(1280, False), (390, True)])
def test_it_looks_light_or_dark(small, tmp_path, width, dark):
    pixels = screenshot(tmp_path, small, width, dark).astype(float)
    assert pixels.shape == (900, width, 3)
    grey = pixels.mean(axis=2)
    assert (np.median(grey) < 60) if dark else (np.median(grey) > 230)
    # letters and figures, not an empty sheet
    assert (np.abs(grey - np.median(grey)) > 100).mean() > 0.01
    # the right edge is the page's margin: nothing runs over it
    assert np.ptp(grey[:, -3:]) < 30


@pytest.mark.slow
def test_eight_thousand_classes_are_sorted_and_searched(tmp_path):
    names = [f'class {k}' for k in range(8142)]
    page_of_many = [run('inat', tmp_path, classes=8142, names=names)]
    found = probe(tmp_path, write_page(tmp_path / 'many.html', page_of_many), 1280)
    assert len(found['first']) == 8142
    assert len(found['searched']) == 1 + 10 + 100 + 1000
    assert found['scroll'] <= 1280


def test_it_prints_every_row_on_light_paper(small, tmp_path):
    file = tmp_path / 'page.pdf'
    browse(tmp_path, small, f'--print-to-pdf={file}', '--no-pdf-header-footer', dark=True)
    content = file.read_bytes()
    sheets = len(re.findall(rb'/Type\s*/Page\b', content))
    assert 3 <= sheets <= 12
    (box,) = set(re.findall(rb'/MediaBox\s*\[([\d. ]+)\]', content))
    width, height = (float(value) for value in box.split()[2:])
    assert (width, height) == pytest.approx((595, 842), abs=2)  # A4
    streams = re.findall(rb'stream\r?\n(.*?)\r?\nendstream', content, re.DOTALL)
    drawn = []
    for stream in streams:
        try:
            drawn.append(zlib.decompress(stream).decode('latin-1'))
        except zlib.error:
            continue
    fills = re.findall(r'([\d.]+) ([\d.]+) ([\d.]+) rg', '\n'.join(drawn))
    dark = [fill for fill in fills if max(map(float, fill)) < 0.1]
    assert not dark, 'dark surfaces are printed'
