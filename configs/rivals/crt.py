"""cRT: classifier re-training: CE, then a new classifier on class-balanced draws.

Kang et al., Decoupling Representation and Classifier (ICLR 2020, arXiv 1910.09217), with the
public settings for ImageNet-LT: 10 epochs, rate 0.2 for a batch of 512 (here 0.05 for 128), decay
5e-4, cosine. No figure for CIFAR-100-LT is published.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/crt.py
    ... --cfg-options train_cfg.max_epochs=10 load_from=PATH  # the second stage alone
"""

_base_ = '../_base_/rivals_r32_two_stage.py'

default_hooks = dict(
    schedule=dict(
        lr=0.05, weight_decay=5e-4, sampler=dict(type='PowerSampler', q=1), new_classifier=True
    ),
)
