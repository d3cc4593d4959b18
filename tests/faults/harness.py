"""Kills runs of tools/train.py at seeded-random moments, resumes them, and compares with a run that
nobody disturbed: weights, momentum, bank, histories of losses and report, to the last bit.

    python tests/faults/harness.py [--cases 50] [--folder DIR]

prints a line a case. What is done to a run (``KINDS``):

kill      SIGKILL
ask       SIGTERM, or SIGUSR1: it has to exit with 0 and lose nothing
full      its folder is a small tmpfs that fills up, or that somebody else fills at some moment: it
          has to exit with 1, one sentence, and its checkpoints intact; then there is room again
damaged   SIGKILL, then the newest checkpoint is cut short, emptied, or a byte of it is changed

A third of the runs is killed once more after the resume.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = ('kill', 'ask', 'full', 'damaged')
DIGITS = ROOT / 'configs' / 'bce3s' / 'digits.py'
SHORT = (
    "model.head.contrastive=dict(type='BCEContrastive')",  # whose bank is saved, too
    'train_cfg.max_epochs=6',
    'train_cfg.val_interval=2',
    'train_cfg.finetune_epochs=2',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.interval_iters=3',
    'default_hooks.logger.interval=4',
)
LIMIT = 300  # seconds that any run may take


@dataclass
class Setting:
    """What is trained: the command without ``--work-dir`` and options; iterations of an epoch."""

    command: list[str] = field(
        default_factory=lambda: [sys.executable, str(ROOT / 'tools' / 'train.py'), str(DIGITS)]
    )
    options: tuple[str, ...] = SHORT
    per_epoch: int = 13
    epochs: int = 6

    def start(self, work_dir: Path, *args: str) -> Process:
        # an equals sign: a path after --resume would be taken for the checkpoint
        command = [*self.command, f'--work-dir={work_dir}', *args, '--cfg-options', *self.options]
        return Process(command)


def make_folder(root: Path) -> None:
    """The images of ``folder.py``."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, counts in (('train', (24, 12, 8)), ('val', (4, 4, 4))):
        for k, count in enumerate(counts):
            folder = root / split / f'class_{k}'
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(80 * k, 80 * k + 90, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.png')


def folder_setting(images: Path) -> Setting:
    """Two worker processes read ``images``; 6 batches an epoch."""
    if not images.exists():
        make_folder(images)
    config = Path(__file__).with_name('folder.py')
    data = (f'{name}_dataloader.dataset.data_root={images}' for name in ('train', 'val'))
    command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(config)]
    return Setting(command, (*SHORT, *data), per_epoch=6)


def two_processes() -> Setting:
    """Two processes of half the batch, on gloo; they look at every third iteration."""
    command = [str(ROOT / 'tools' / 'dist_train.sh'), str(DIGITS), '2']
    options = ('train_dataloader.batch_size=16', 'default_hooks.checkpoint.look_every=3')
    return Setting(command, (*SHORT, *options))


SETTINGS = ('digits', 'workers', 'two processes')


def setting_of(name: str, folder: Path) -> Setting:
    """One of ``SETTINGS``; images are made in ``folder``."""
    if name == 'workers':
        return folder_setting(folder / 'images')
    return two_processes() if name == 'two processes' else Setting()


class Process:
    """A run in a session of its own, whose output goes to a file that no full disk touches."""

    def __init__(self, command: list[str]) -> None:
        self.output = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(
                os.environ,
                OMP_NUM_THREADS='1',
                PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            ),
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: int, everybody: bool = False) -> None:
        if self.running():
            kill = os.killpg if everybody else os.kill
            kill(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Exit status and output."""
        try:
            status = self.process.wait(LIMIT)
        finally:
            if self.running():
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.output.seek(0)
        return status, self.output.read()


# ------------------------------------------------------------ moments
def progress(work_dir: Path, setting: Setting) -> int:
    """Iterations in the newest checkpoint, by the name that ``last_checkpoint`` holds."""
    try:
        name = Path((work_dir / 'last_checkpoint').read_text()).stem
        kind, number = name.split('_')
    except (OSError, ValueError):
        return 0
    return int(number) * (setting.per_epoch if kind == 'epoch' else 1)


def wait_for(moment: random.Random, work_dir: Path, setting: Setting, process: Process) -> None:
    """Until a random moment of the run: in its start-up (one of eight), or some time after a random
    iteration was saved.
    """
    begun = progress(work_dir, setting)
    if moment.random() < 1 / 8:
        time.sleep(moment.uniform(0.1, 4))
        return
    target = moment.randint(begun, setting.epochs * setting.per_epoch - 1)
    while process.running() and progress(work_dir, setting) <= target // 3 * 3 - 3:
        time.sleep(0.002)
    if target // 3 * 3 - 3 < begun:
        time.sleep(moment.uniform(3, 6))
    time.sleep(moment.uniform(0, 0.25))


# ------------------------------------------------------------ faults
def disturb(kind: str, moment: random.Random, work_dir: Path, setting: Setting) -> str:
    """Begins or resumes a run, does what ``kind`` says, and gives a note on how it ended."""
    if kind == 'full':
        return fill(moment, work_dir, setting)
    process = setting.start(work_dir, '--resume')
    wait_for(moment, work_dir, setting, process)
    if kind == 'ask':
        return ask(moment, process)
    process.send(signal.SIGKILL, everybody=True)
    status, output = process.end()
    assert status in (0, -signal.SIGKILL), output
    note = 'killed' if status else 'had finished'
    return f'{note}, {damage(moment, work_dir)}' if kind == 'damaged' else note


def ask(moment: random.Random, process: Process) -> str:
    number = moment.choice((signal.SIGTERM, signal.SIGUSR1))
    while process.running() and not importing(process):
        time.sleep(0.01)
    process.send(number, everybody=moment.random() < 0.5)
    if moment.random() < 0.3:
        time.sleep(moment.uniform(0, 0.05))
        process.send(number)
    status, output = process.end()
    assert status == 0, output
    assert 'Traceback' not in output, output
    found = re.search(r'^Stopped by .*$', output, re.MULTILINE)
    return f'{number.name}: {shortened(found[0])}' if found else 'had finished'


def importing(process: Process) -> bool:
    """Whether Python runs the tool by now; before that any process dies of a SIGTERM."""
    caught = re.search(r'SigCgt:\s*(\w+)', Path(f'/proc/{process.process.pid}/status').read_text())
    return bool(caught and int(caught[1], 16) & 1 << (signal.SIGUSR1 - 1))


def shortened(sentence: str) -> str:
    return re.sub(r'\S*/', '', sentence)


def damage(moment: random.Random, work_dir: Path) -> str:
    """Does something to the newest checkpoint."""
    files = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    if not files:
        return 'nothing saved yet'
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    how = moment.choice(('cut', 'emptied', 'changed'))
    if how == 'cut':
        del content[moment.randrange(1, len(content)) :]
    elif how == 'emptied':
        content.clear()
    else:
        content[moment.randrange(len(content))] ^= 1 << moment.randrange(8)
    newest.write_bytes(content)
    return f'{newest.name} {how}'


def fill(moment: random.Random, work_dir: Path, setting: Setting) -> str:
    """A run on a disk without room for it."""
    if not can_mount():
        return fill_by_limit(moment, work_dir, setting)
    big, kept = 64_000_000, None
    if work_dir.exists():
        kept = work_dir.rename(work_dir.with_suffix('.kept'))
    work_dir.mkdir()
    by_others = moment.random() < 0.5
    # from the first log line to three checkpoints
    size = big if by_others else int(10 ** moment.uniform(4, 6.65))
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', work_dir], check=True)
    try:
        if kept is not None:
            subprocess.run(['mount', '-o', f'remount,size={big}', work_dir], check=True)
            shutil.copytree(kept, work_dir, dirs_exist_ok=True)
            by_others = True
        process = setting.start(work_dir, '--resume')
        if by_others:
            wait_for(moment, work_dir, setting, process)
            occupy(work_dir / 'ballast', leave=int(10 ** moment.uniform(1, 6.2)))
        status, output = process.end()
        saved = dict.fromkeys(work_dir.glob('*.pth'))
        note = judge_full(status, output)
        subprocess.run(['mount', '-o', f'remount,size={big}', work_dir], check=True)
        (work_dir / 'ballast').unlink(missing_ok=True)
        onward = work_dir.with_suffix('.onward')
        shutil.copytree(work_dir, onward)
    finally:
        subprocess.run(['umount', '-l', work_dir], check=True)
    work_dir.rmdir()
    onward.rename(work_dir)
    if kept is not None:
        shutil.rmtree(kept)
    return (
        f'{"filled by others" if by_others else f"{size / 1e6:.2f} MB"}: {note}, {len(saved)} saved'
    )


def judge_full(status: int, output: str) -> str:
    if status == 0:
        return 'had finished'
    assert status == 1, output
    # but for the launcher's own line on which process it was
    errors = re.findall('^error: (?!process ).*', output, re.MULTILINE)
    assert len(errors) == 1, output
    for noise in ('Traceback', 'Exception ignored', 'Logging error'):
        assert noise not in output, output
    assert 'No space left on device' in errors[0] or 'File too large' in errors[0], output
    found = re.search(r'(\S+?) (?:could not|cannot) be written', errors[0])
    return f'full at {Path(found[1]).name if found else errors[0]}'


def occupy(file: Path, leave: int) -> None:
    """Fills the disk but for ``leave`` bytes."""
    state = os.statvfs(file.parent)
    with file.open('wb', buffering=0) as out:
        rest = max(0, state.f_bavail * state.f_frsize - leave)
        try:
            while rest > 0:
                rest -= out.write(bytes(min(rest, 1 << 20)))
        except OSError:  # the run was faster
            pass


def can_mount() -> bool:
    return sys.platform == 'linux' and os.geteuid() == 0 and shutil.which('mount') is not None


def fill_by_limit(moment: random.Random, work_dir: Path, setting: Setting) -> str:
    """Where nothing can be mounted: no file of the run may be larger than a random size."""
    limit = int(moment.uniform(10_000, 1_300_000))
    command = ['bash', '-c', f'ulimit -f {limit // 1024}; exec "$@"', 'bash', *setting.command]
    limited = Setting(command, setting.options, setting.per_epoch, setting.epochs)
    status, output = limited.start(work_dir, '--resume').end()
    return f'files up to {limit / 1e6:.2f} MB: {judge_full(status, output)}'


# ------------------------------------------------------------ comparison
def compare(want: Path, got: Path, epochs: int) -> list[str]:
    """What differs between two finished runs; [] if not a bit does."""
    import torch

    checkpoints = [
        torch.load(folder / f'epoch_{epochs}.pth', weights_only=True, map_location='cpu')
        for folder in (want, got)
    ]
    parts = [dict(flat(part(c))) for part in (weights, momentum, losses) for c in checkpoints]
    found = []
    for a, b in zip(parts[::2], parts[1::2], strict=True):
        found += sorted(a.keys() ^ b.keys())
        found += [key for key in a.keys() & b.keys() if not same(a[key], b[key])]
    reports = [json.loads((folder / 'report.json').read_text()) for folder in (want, got)]
    return found + [k for k in reports[0] if reports[0][k] != reports[1].get(k)]


def weights(checkpoint: dict) -> dict:
    return dict(state_dict=dict(checkpoint['state_dict']))


def momentum(checkpoint: dict) -> dict:
    return dict(optimizer=checkpoint['optimizer'])


def losses(checkpoint: dict) -> dict:
    hub = checkpoint['message_hub']['log_scalars']
    kept = {name: value for name, value in hub.items() if not name.endswith('time')}
    info = checkpoint['message_hub']['runtime_info']
    return dict(hub=kept, steps=[info['iter'], info['epoch']], history=info.get('report_history'))


def flat(value, name=''):
    if isinstance(value, dict):
        for key, child in value.items():
            yield from flat(child, f'{name}.{key}')
    elif isinstance(value, list | tuple):
        for key, child in enumerate(value):
            yield from flat(child, f'{name}.{key}')
    else:
        yield name, value


def same(a, b) -> bool:
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


# ------------------------------------------------------------ cases
def run_whole(work_dir: Path, setting: Setting) -> float:
    """Trains without a fault; gives the seconds it took."""
    begin = time.monotonic()
    status, output = setting.start(work_dir).end()
    assert status == 0, output
    return time.monotonic() - begin


def run_case(seed: int, kind: str, undisturbed: Path, work_dir: Path, setting: Setting) -> str:
    """Disturbs a run, lets it finish, and compares; gives a note on what happened.

    Raises:
        AssertionError: it ended in another way than it should, or not bit-identical.
    """
    moment = random.Random(seed)
    notes = [disturb(kind, moment, work_dir, setting)]
    if moment.random() < 1 / 3:
        notes.append(disturb(moment.choice(('kill', 'ask', 'damaged')), moment, work_dir, setting))
    status, output = setting.start(work_dir, '--resume').end()
    assert status == 0, output
    assert not list(work_dir.glob('.*.tmp')), list(work_dir.iterdir())
    kept = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    assert len(kept) <= 2, kept
    differs = compare(undisturbed, work_dir, setting.epochs)
    assert not differs, (notes, differs)
    passed_over = len(re.findall('Passed over', output))
    return '; '.join(notes) + (f'; {passed_over} passed over' if passed_over else '')


def kind_of(case: int) -> str:
    return KINDS[case % len(KINDS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--cases', type=int, default=50)
    parser.add_argument('--first', type=int, default=0, help='number of the first case')
    parser.add_argument('--folder', type=Path)
    parser.add_argument('--setting', choices=SETTINGS, default='digits')
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix='faults-'))
    folder.mkdir(parents=True, exist_ok=True)
    setting = setting_of(args.setting, folder)
    begin, passed = time.monotonic(), Counter()
    seconds = run_whole(folder / 'undisturbed', setting)
    print(f'undisturbed: {seconds:.1f} s', flush=True)
    for case in range(args.first, args.first + args.cases):
        kind, work_dir, before = kind_of(case), folder / f'case_{case}', time.monotonic()
        try:
            note = run_case(case, kind, folder / 'undisturbed', work_dir, setting)
        except AssertionError as error:
            note = f'FAILED: {error}'
        else:
            passed[kind] += 1
            shutil.rmtree(work_dir)
        print(f'{case:3} {kind:8} {time.monotonic() - before:5.1f} s  {note}', flush=True)
    tally = ', '.join(f'{kind} {passed[kind]}' for kind in KINDS)
    print(
        f'{passed.total()} of {args.cases} bit-identical ({tally}) in '
        f'{(time.monotonic() - begin) / 60:.1f} min',
        flush=True,
    )
    return 0 if passed.total() == args.cases else 1


if __name__ == '__main__':
    sys.exit(main())
