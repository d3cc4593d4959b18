"""SGD with momentum 0.9, a cosine to 0, then the classifier alone; as many epochs as suit the data.

Epochs and rates stand here for 1,500 images and batches of 64, and are replaced, see
``bce3s/own_data/settings.py``. Decay 5e-4, five percent of warm-up.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=66, val_interval=6, finetune_epochs=6)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True),
)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=5e-3, warmup_epochs=3))
