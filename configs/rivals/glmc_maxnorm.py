"""GLMC + MaxNorm: GLMC, then its second classifier alone with MaxNorm.

Du et al., Global and Local Mixture Consistency Cumulative Learning (CVPR 2023, arXiv 2305.08661),
whose second stage is that of weight balancing (Alshammari et al., CVPR 2022): the classifier that
predicts, class-balanced cross-entropy (beta 0.9999), rows of its weights bounded, the bias free.
The script of that stage was not published: its length, rates and threshold are those of
weight_balancing.py.

Published: 58.4 with GLMC's own recipe, see glmc.py.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/glmc_maxnorm.py
    ... --cfg-options train_cfg.max_epochs=10 load_from=PATH  # the second stage alone
"""

_base_ = './glmc.py'

train_cfg = dict(max_epochs=210, finetune_epochs=10)
model = dict(head=dict(beta=0.9999))
default_hooks = dict(
    schedule=dict(type='TwoStageHook', lr=2e-4, weight_decay=10.0, freeze_norm=False)
)
custom_hooks = [dict(type='MaxNormHook', threshold=0.1)]
