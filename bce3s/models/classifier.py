"""The network: preprocessor, backbone, head."""

from __future__ import annotations

from functools import cache

import torch
from mmengine.optim import OptimWrapper
from mmpretrain.models import ImageClassifier
from numpy.typing import NDArray
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.models.data_parallel import step_in_parts
from bce3s.models.targets import Targets
from bce3s.registry import MODELS


@cache
def multiplies_bf16(device: str) -> bool:
    """Whether a ``'cpu'`` or ``'cuda'`` device has instructions for products of bfloat16."""
    if device == 'cuda':
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == 'cpu' and any(
        getattr(torch.cpu, name, bool)()  # bool() is False: an older torch
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    )


@MODELS.register_module()
class LongTailedClassifier(ImageClassifier):
    """mmpretrain's classifier with plain tensors, a stage for the classifier alone, and flip TTA.

    Args:
        precision: ``'fp32'``; ``'bf16'`` to run the backbone under bfloat16 autocast, in training
            and evaluation alike; or ``'auto'``, bf16 on devices that multiply it at more than the
            speed of float32 (:func:`multiplies_bf16`). The head always computes in float32.
        channels_last: memory layout of the backbone and its input.
        compile: True, or arguments of ``torch.compile``, for the backbone: it pays in long runs
            only. One graph each for full and last batch, training and evaluation.
            ``dict(mode='reduce-overhead')`` adds CUDA graphs on a GPU, with one micro-batch only:
            a second one would overwrite the features of the first.
        flip_tta: whether to predict, beside the image itself, from the mean of its logits and
            those of its mirror image (``pred_flip_tta``).
        micro_batches: A >= 1, parts in which a process sends its batch through the network: the
            step of ``batch_size`` samples in the memory of ``batch_size / A``. Everything is drawn
            for the whole batch, gradients add up, and one step of the optimiser follows; only
            batch statistics (BatchNorm in training) and dropout are those of a part.
    """

    def __init__(
        self,
        *args,
        precision: str = 'fp32',
        channels_last: bool = True,
        compile: bool | dict = False,
        flip_tta: bool = False,
        micro_batches: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if precision not in ('fp32', 'bf16', 'auto'):
            raise BCE3SError(
                "LongTailedClassifier: precision must be 'fp32', 'bf16' or 'auto', not "
                f'{precision!r}.'
            )
        if self.data_preprocessor.batch_mix is not None and self.head.contrastive is not None:
            raise BCE3SError(
                "'batch_mix' of the data_preprocessor leaves no unmixed view for the memory bank "
                "of the contrastive branch: use 'mix', or set model.head.contrastive=None."
            )
        if self.data_preprocessor.label_smoothing and not getattr(
            self.head.joint, 'soft_negatives', True
        ):
            raise BCE3SError(
                'With label_smoothing no target is 0, so soft_negatives=False would leave the '
                'joint loss without any negative: set model.head.joint.soft_negatives=True.'
            )
        views = ('origin', *(mix.name for mix in self.data_preprocessor.finetune_mix))
        if views != (wanted := getattr(self.head, 'finetune_views', views)):
            raise BCE3SError(
                f'The second stage of {type(self.head).__name__} needs the views {wanted}, but '
                f"'finetune_mix' of the data_preprocessor gives {views}: set it to "
                "[dict(type='PairedPartner')]."
            )
        if not isinstance(micro_batches, int) or micro_batches < 1:
            raise BCE3SError(
                'LongTailedClassifier: micro_batches must be a whole number of parts of the batch, '
                f'at least 1, not {micro_batches!r}.'
            )
        self.precision, self.flip_tta, self.micro_batches = precision, flip_tta, micro_batches
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        if not isinstance(compile, bool | dict):
            raise BCE3SError(
                f'LongTailedClassifier: compile must be True, False or a dict, not {compile!r}.'
            )
        mode = compile.get('mode') if isinstance(compile, dict) else None
        graphs = mode in ('reduce-overhead', 'max-autotune') and torch.cuda.is_available()
        if micro_batches > 1 and graphs:
            raise BCE3SError(
                f'LongTailedClassifier: the CUDA graphs of compile.mode={mode} keep the features '
                f'of one micro-batch, not of {micro_batches}: set micro_batches=1, or '
                "compile=dict(mode='default')."
            )
        if compile:
            # in place: the keys of the state dict stay as they are
            self.backbone.compile(**(dict(dynamic=False) | ({} if compile is True else compile)))
        self.finetuning = self._frozen_norm = False
        # DistributedDataParallel: sparse gradients average themselves
        sampled = self.head.classifier.named_parameters() if self.head.sample_rate < 1 else ()
        self._ddp_params_and_buffers_to_ignore = [f'head.classifier.{name}' for name, _ in sampled]

    def dtype(self, device: torch.device) -> torch.dtype:
        """In which the backbone multiplies on ``device``."""
        bf16 = self.precision == 'bf16' or (
            self.precision == 'auto' and multiplies_bf16(device.type)
        )
        return torch.bfloat16 if bf16 else torch.float32

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> tuple[Tensor, ...] | Tensor:
        """As mmpretrain's, in the chosen precision and layout; the result in the input's dtype."""
        inputs = inputs.contiguous(memory_format=self.memory_format)
        bf16 = self.dtype(inputs.device) == torch.bfloat16
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
            feats = super().extract_feat(inputs, stage)
        if isinstance(feats, Tensor):
            return feats.to(inputs.dtype)
        return tuple(feat.to(inputs.dtype) for feat in feats)

    def features(self, inputs: Tensor) -> Tensor:
        """Images (B, C, H, W) -> features (B, d), the input of the head; of a frozen backbone its
        own features (B, D) are taken in the images' place.
        """
        if inputs.dim() == 2:
            feats = inputs if self.neck is None else self.neck((inputs,))
        else:
            feats = self.extract_feat(inputs)
        return feats if isinstance(feats, Tensor) else feats[-1]

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step on a batch of a loader -> its losses."""
        if self.micro_batches == 1:
            return super().train_step(data, optim_wrapper)
        return step_in_parts(self, self, data, optim_wrapper)

    def loss(self, inputs: Tensor, data_samples: Targets) -> dict[str, Tensor]:
        """Views (V * B, C, H, W) -> losses to be summed."""
        # a rank without a sample of a small last batch shows the network a stand-in
        feats = self.features(inputs)[: len(data_samples.views) * len(data_samples.labels)]
        return self.head.loss(feats, data_samples)

    def predict(self, inputs: Tensor, data_samples: dict[str, Tensor]) -> list[dict]:
        """One dict a sample: ``scores`` (K,), the raw logits, ``pred``; ``label``, ``index``.

        ``pred`` is the class with the largest one; with several labels an image it is the logits
        themselves, and ``pred`` and ``label`` are arrays (K,).
        """
        labels, logits = data_samples['labels'], self.head(self.features(inputs))
        several = labels.dim() == 2
        answers = _rows if several else _best
        columns = dict(scores=logits.cpu(), pred=answers(logits))
        if self.flip_tta:
            mirrored = self.head(self.features(inputs.flip(-1)))
            columns['pred_flip_tta'] = answers((logits + mirrored) / 2)
        columns['label'] = _rows(labels) if several else labels.tolist()
        columns['index'] = data_samples['indices'].tolist()
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def finetune_classifier(self, freeze_norm: bool = True) -> None:
        """Enter the second stage: everything but the head's classifier is frozen.

        Args:
            freeze_norm: True: normalisation layers use their running statistics. False, as in the
                public implementation: batch statistics, and the running ones drift.

        Raises:
            BCE3SError: the head does not know the class counts, from which the weights follow.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None  # or the optimiser would go on with the last one
        self.head.finetune()
        self.finetuning = self.data_preprocessor.finetuning = True
        self._frozen_norm = freeze_norm
        self.train(self.training)

    def train(self, mode: bool = True) -> LongTailedClassifier:
        super().train(mode)
        if mode and self.finetuning and self._frozen_norm:
            self.backbone.eval()
            if self.neck is not None:
                self.neck.eval()
        return self


def _best(logits: Tensor) -> list[int]:
    return logits.argmax(1).tolist()


def _rows(values: Tensor) -> list[NDArray]:
    return [*values.cpu().numpy()]
