"""``bce3s demo``: a page in the browser to which pictures are given, by gradio.

Nothing here imports torch or gradio before the arguments are parsed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.arguments import positive, run_tool
from bce3s.errors import BCE3SError

if TYPE_CHECKING:
    from bce3s.inference.predictor import Predictor

EXAMPLES = """examples:
  bce3s demo work_dirs/my_folder
  bce3s demo NAME/my-flowers --port 8080
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s demo',
        description='A page in the browser, on this machine: a picture in, its classes out, or '
        '"none of these".',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        'run', metavar='RUN', help='work dir of a run, or a published model: a folder, or REPO'
    )
    p.add_argument('--port', type=positive(int), default=7860, help='of the page (default: 7860)')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or wrong."""
    args = parser().parse_args(argv)
    return run_tool(lambda: demo(args))


def demo(args: argparse.Namespace) -> None:
    """Serves the page until it is stopped.

    Raises:
        BCE3SError: no gradio, no such model, or a port that is taken.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise BCE3SError('A demo needs gradio: pip install gradio, or bce3s[demo].') from error
    predictor = _predictor(args.run)
    if predictor.several:
        raise BCE3SError(
            'The page is for images with one label, and those of this run have several: use '
            'bce3s predict RUN IMAGES --page FILE.'
        )
    try:
        page(predictor).launch(server_name='127.0.0.1', server_port=args.port, share=False)
    except OSError as error:
        raise BCE3SError(f'No page at port {args.port} ({error}): give another --port.') from error


def _predictor(run: str) -> Predictor:
    from bce3s.inference import Predictor
    from bce3s.inference.hub import opened

    if Path(run).expanduser().exists():
        return Predictor(opened(run))
    return Predictor.from_pretrained(run)


def answer(
    predictor: Predictor, image: Any, threshold: float | None
) -> tuple[str, dict[str, float], str]:
    """What the page says of a picture.

    Args:
        predictor: of the model.
        image: as a predictor takes it, or None: none was given.
        threshold: that the largest logit must exceed; None: what the predictor does, with its
            score, thresholds and parents.

    Returns:
        The class, or "none of these" with the nearest; the most likely classes with their scores;
        and what was compared with what.
    """
    from bce3s.evaluation.rejection_scores import MAX_LOGIT
    from bce3s.inference.writing import rejection_label

    if image is None:
        return '', {}, ''
    try:
        (found,) = predictor([image])
    except BCE3SError as error:
        return 'cannot be read', {}, str(error)
    if threshold is None:
        what, value, limit = predictor.rejection.score, found.compared, found.threshold
        known, label = found.known, found.label
    else:
        what, value, limit = MAX_LOGIT, found.logit, threshold
        known, label = value > limit, found.best
    if not known:
        label = f'{rejection_label(predictor.classes)} (nearest: {found.best})'
    elif label != found.best:
        label = f'{label} (nearest: {found.best})'
    about = f'{what[0].upper()}{what[1:]}: {value:.3f}'
    if limit is None:
        about += '. No picture is rejected.'
    else:
        about += f', {"above" if known else "not above"} the threshold, {limit:.3f}.'
    return label, dict(found.top), about


def page(predictor: Predictor) -> Any:
    """The page, a ``gradio.Blocks``; nothing that is given to it is kept, nothing is sent on."""
    import gradio

    with gradio.Blocks(title='bce3s', analytics_enabled=False) as blocks:
        gradio.Markdown(
            f'# {predictor.run.folder.name}\n\n{len(predictor.classes)} classes. '
            f'{predictor.rejection.about}.'
        )
        with gradio.Row():
            with gradio.Column():
                image = gradio.Image(type='pil', label='Picture', sources=['upload', 'clipboard'])
                threshold = gradio.Number(
                    label='Threshold of the largest logit (empty: that of the model)', value=None
                )
            with gradio.Column():
                label = gradio.Textbox(label='Class', interactive=False)
                scores = gradio.Label(label=f'Scores ({predictor.score})')
                about = gradio.Textbox(label='None of these?', interactive=False)
        for changed in (image, threshold):
            changed.change(
                lambda picture, limit: answer(predictor, picture, limit),
                [image, threshold],
                [label, scores, about],
                api_name='answer' if changed is image else False,
            )
    return blocks
