"""``bce3s export``: a run's network as ONNX, TorchScript or ``torch.export``, checked,
with ``model.json`` and a model card beside it.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.arguments import add_run, run_tool
from bce3s.errors import BCE3SError
from bce3s.files import write_all

if TYPE_CHECKING:
    from bce3s.inference.export import Exported

KINDS = ('onnx', 'torchscript', 'pt2')
FOLDER, FACTS, CARD = 'export', 'model.json', 'MODEL_CARD.md'
EXAMPLES = """examples:
  bce3s export work_dirs/digits
  bce3s export work_dirs/digits --format onnx torchscript pt2 --out exported/digits
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s export',
        description='Writes the network of a run as a file that runs without this package, checks '
        'that it gives the same scores, and writes model.json and MODEL_CARD.md beside it. Input: '
        'uint8 images (N, C, H, W); output: float32 logits (N, K); the normalisation is inside.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(p, positional=True)
    p.add_argument(
        '--format',
        nargs='+',
        choices=KINDS,
        default=['onnx'],
        help='onnx (default): model.onnx; torchscript: model.ts; pt2 (torch.export): model.pt2',
    )
    p.add_argument('--out', type=Path, metavar='DIR', help='where to write (RUN/export)')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a file could not be written or gives other scores."""
    args = parser().parse_args(argv)
    return run_tool(
        lambda: export_tool(args), 'Files already written are kept.', args.out or args.run
    )


def export_tool(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing, or for the formats that failed, in the end."""
    import mmpretrain.models  # noqa: F401

    from bce3s.inference.export import FORMATS, ExportedNetwork, export, float32_model, model_scores
    from bce3s.inference.hub import opened
    from bce3s.inference.inputs import InputSpec
    from bce3s.inference.model_card import format_card
    from bce3s.inference.model_facts import evaluated, file_facts, metadata_of, model_facts

    run = opened(args.run, args.checkpoint)
    model, meta = float32_model(run)
    network, spec = ExportedNetwork(model), InputSpec.of(run, meta)
    data = evaluated(run, spec, network.linear.out_features)
    facts = model_facts(run, model, meta, spec, data)
    metadata, original = metadata_of(facts), model_scores(model)
    out = (args.out or run.folder / FOLDER).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    print(f'{run.checkpoint}: checked on {data.source}', flush=True)
    done: list[Exported] = []
    failed: list[str] = []
    for name in dict.fromkeys(args.format):
        print(f'{FORMATS[name].title} ...', flush=True)
        try:
            done.append(export(network, original, FORMATS[name], out, data.images, metadata))
        except BCE3SError as error:
            failed.append(str(error))
    if done:
        facts['files'] = [
            file_facts(one.path, one.format.title, one.agreement, data.source) for one in done
        ]
        text = json.dumps(facts, indent=1, allow_nan=False, ensure_ascii=False)
        write_all({FACTS: text + '\n', CARD: format_card(facts)}, out)
        print(f'\n{table(done)}\n\n{out / FACTS} and {out / CARD} say what it is.')
    if failed:
        raise BCE3SError(' '.join(failed))


def table(done: Sequence[Exported]) -> str:
    """For the terminal: a row for each file."""
    from bce3s.tables import markdown_table

    header = ['format', 'file', 'MB', 'difference of logits', 'same class']
    rows = [
        [
            one.format.name,
            one.path.name,
            f'{one.path.stat().st_size / 1e6:.2f}',
            f'{one.agreement.difference:.1e} of {one.agreement.scale:.3g}',
            f'{one.agreement.same} of {one.agreement.images}',
        ]
        for one in done
    ]
    return markdown_table(header, rows, aligned=True)
