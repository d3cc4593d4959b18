"""The bar shows on a terminal, and leaves no trace in a pipe or a log file."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from bce3s.engine.progress import ProgressHook

class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def forward(self, inputs, mode='loss'):
        if int(sys.argv[2]):
            raise RuntimeError('broken on purpose')
        return dict(loss=self.layer(inputs).pow(2).mean() + 2)

rows = [dict(inputs=torch.ones(1)) for _ in range(8)]
Runner(
    model=Toy(), work_dir=sys.argv[1],
    train_dataloader=dict(dataset=rows, batch_size=1,
                          sampler=dict(type='DefaultSampler', shuffle=False),
                          collate_fn=dict(type='default_collate')),
    train_cfg=dict(by_epoch=True, max_epochs=2),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    default_hooks=dict(logger=dict(type='LoggerHook', interval=4)),
    custom_hooks=[ProgressHook(interval=0.0)],
).train()
"""


def command(work_dir, broken=0):
    return [sys.executable, '-c', SCRIPT, str(work_dir), str(broken)]


def on_terminal(args):
    """What a process writes to a pseudo-terminal, and its exit status."""
    reader, writer = pty.openpty()
    environment = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '160'}
    process = subprocess.Popen(args, stdout=writer, stderr=writer, env=environment, cwd=ROOT)
    os.close(writer)
    output = b''
    while True:
        try:
            chunk = os.read(reader, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(reader)
    return output.decode(errors='replace'), process.wait()


def test_nothing_but_plain_lines_in_a_pipe_and_in_the_log(tmp_path):
    done = subprocess.run(command(tmp_path), capture_output=True, check=True, cwd=ROOT)
    assert b'\r' not in done.stdout + done.stderr
    assert '━' not in done.stdout.decode()
    assert re.search(rb'Epoch\(train\) +\[2\]\[4/8\]', done.stdout)
    for log in tmp_path.rglob('*.log'):
        assert b'\r' not in log.read_bytes()


def test_a_bar_on_a_terminal_with_the_log_lines_above_it(tmp_path):
    text, status = on_terminal(command(tmp_path))
    assert status == 0
    assert '━' in text
    assert re.search(r'epoch 2/2 loss 2\.\d+ lr 1\.00e-01', text)
    assert '16/16' in text
    assert len(re.findall(r'Epoch\(train\)', text)) == 4
    assert text.rstrip().endswith('\x1b[?25h') or '\x1b[?25h' in text[-200:]  # the cursor is back
    log = next(tmp_path.rglob('*.log')).read_text()
    assert '━' not in log
    assert '\r' not in log


def test_the_cursor_comes_back_after_an_error(tmp_path):
    text, status = on_terminal(command(tmp_path, broken=1))
    assert status != 0
    assert 'broken on purpose' in text
    assert text.rindex('\x1b[?25h') > text.rindex('\x1b[?25l')
