"""README.md and docs/: short, without broken links, without paths of somebody's machine."""

import re
import subprocess

import pytest
from doc_blocks import DOCUMENTS, ROOT, anchors_of, links_of, text_of

MARKDOWN = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob('*.md')
    if not any(part.startswith('.') for part in path.relative_to(ROOT).parts)
    and path.relative_to(ROOT).parts[0] not in ('data', 'work_dirs')
)


def test_the_readme_is_short():
    assert len(text_of('README.md').splitlines()) < 250


def test_docs_has_what_the_readme_has_no_room_for():
    assert set(DOCUMENTS) == {
        'README.md',
        *(f'docs/{name}.md' for name in ('clusters', 'reproduce', 'your_data', 'your_loss')),
    }
    named = {target.partition('#')[0] for _, target in links_of('README.md')}
    assert named >= set(DOCUMENTS) - {'README.md'}


@pytest.mark.parametrize('document', MARKDOWN)
def test_links_lead_somewhere(document):
    for line, target in links_of(document):
        path, _, anchor = target.partition('#')
        end = (ROOT / document).parent / path if path else ROOT / document
        assert end.exists(), f'{document}:{line}: {target}'
        if anchor:
            name = str(end.resolve().relative_to(ROOT))
            assert anchor in anchors_of(name), f'{document}:{line}: {target}'


@pytest.mark.parametrize('document', DOCUMENTS)
def test_files_in_its_text_exist(document):
    """Paths below configs/, tools/, docs/ and the modules of bce3s/, wildcards and braces
    included.
    """
    for path in re.findall(r'`((?:configs|tools|docs|tests|bce3s)/[^`\s:]*)`', text_of(document)):
        done = subprocess.run(
            ['bash', '-c', f'shopt -s failglob; ls -d {path}'], cwd=ROOT, capture_output=True
        )
        assert done.returncode == 0, f'{document}: {path}'


@pytest.mark.parametrize('document', MARKDOWN)
def test_no_paths_of_a_machine(document):
    assert not re.findall(r'(?<![\w.])/(?:work|home|root|tmp|Users)/', text_of(document))


def test_pictures_are_small():
    for path in (ROOT / 'docs/figures').iterdir():
        assert path.stat().st_size < 150_000, path.name
        assert path.name in ''.join(map(text_of, DOCUMENTS)), f'{path.name} is shown nowhere'
