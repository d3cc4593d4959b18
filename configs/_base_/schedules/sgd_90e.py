"""90 epochs of one stage: SGD, momentum 0.9, weight decay 5e-4, rate 0.1 with a cosine to 0.

For a batch of 256 and ImageNet-LT: as in ProCo (arXiv 2403.06726), and classifier-balancing (arXiv
1910.09217), which has twice the batch at twice the rate. No Nesterov momentum and no warm-up in
these. ProCo's longer recipe has 180 epochs (max_epochs=190 with a second stage).
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True),
)
default_hooks = dict(schedule=dict(type='CosineLRHook'))
