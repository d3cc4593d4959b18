"""100 epochs of AdamW: rate 2.5e-4 after a warm-up of 5, a cosine to 0, decay 0.05.

For a batch of 256. Epochs, warm-up and decay as in LiVT (arXiv 2212.02015), whose networks were
pretrained by masked images; the rate is that of DeiT (arXiv 2012.12877), 5e-4 for 512, which trains
from scratch. Our reading. Norms, biases and embeddings do not decay; no decay of the rate by layer.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2.5e-4, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)},
    ),
)
default_hooks = dict(schedule=dict(type='CosineLRHook', warmup_epochs=5))
