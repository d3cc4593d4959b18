"""A training step in parts, in one process or in several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS  # the one in which the Runner looks
from torch import Tensor, nn

from bce3s.models.targets import Targets


@MODEL_WRAPPERS.register_module()
class BCE3SDataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper, for a model that takes its batch in ``micro_batches`` parts: the ranks
    exchange gradients once, in the last part.
    """

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        if getattr(self.module, 'micro_batches', 1) == 1:
            return super().train_step(data, optim_wrapper)
        return step_in_parts(self, self.module, data, optim_wrapper)


def step_in_parts(
    network: nn.Module, model: nn.Module, data: dict, optim_wrapper: OptimWrapper
) -> dict[str, Tensor]:
    """One step of the optimiser on a batch that goes through the network in parts.

    What is drawn (augmentation, mixing, classes to compare with) is drawn for the whole batch. Each
    part's losses are its share of the batch's, which the last one's complete (see
    ``TripartiteHead.loss``); the memory of the network is that of one part.

    Args:
        network: ``model``, or the wrapper that exchanges its gradients.
        model: a ``LongTailedClassifier``.
        data: of a loader.
        optim_wrapper: its ``backward`` gets the losses of all parts but the last, then
            ``update_params`` the last one, with the value of the whole batch's loss.

    Returns:
        Losses of the whole batch, without a graph.
    """
    with optim_wrapper.optim_context(network):
        data = model.data_preprocessor(data, training=True)
        targets = model.head.prepared(data['data_samples'])
    log: dict[str, Tensor] = {}
    for inputs, part in split(data['inputs'], targets, model.micro_batches):
        quiet = hasattr(network, 'no_sync') and not part.last
        # a wrapper of gradients asks in its forward pass
        with optim_wrapper.optim_context(network), network.no_sync() if quiet else nullcontext():
            losses = network(inputs=inputs, data_samples=part, mode='loss')
        loss, values = model.parse_losses(losses)
        log = {k: log.get(k, 0) + v.detach() for k, v in values.items()}
        if part.last:
            # its value is that of the whole batch, for a wrapper that looks at it
            optim_wrapper.update_params(loss + (log['loss'] - loss.detach()))
        else:
            optim_wrapper.backward(optim_wrapper.scale_loss(loss))
    return log


def split(inputs: Tensor, targets: Targets, parts: int) -> Iterator[tuple[Tensor, Targets]]:
    """Images (V * B, ...) and their targets in contiguous parts of the samples, the same in every
    view; as many on all ranks, at most one a sample.
    """
    parts, size = max(1, min(parts, *targets.share.sizes)), len(targets.labels)
    views = targets.per_view(inputs)
    for i in range(parts):
        own = slice(i * size // parts, (i + 1) * size // parts)
        partners = None if targets.partners is None else targets.partners[own]
        part = replace(targets, labels=targets.labels[own], partners=partners, part=(i, parts))
        yield views[:, own].flatten(0, 1), part
