"""Plain softmax cross-entropy on your own images: one view, a linear classifier, one stage.

Data, splits, network, augmentation and epochs of the first stage as in configs/bce3s/my_folder.py.

    python tools/train.py configs/baselines/my_folder_ce.py --cfg-options data_root=PATH
"""

_base_ = '../bce3s/my_folder.py'

train_dataloader = dict(batch_sampler=dict(type='GlobalBatchSampler'))
model = dict(
    data_preprocessor=dict(mix=[]),
    head=dict(
        joint=dict(_delete_=True, type='CEJoint'),
        contrastive=None,
        uniformity=None,
        classifier=dict(normalize_weight=False),
    ),
)
train_cfg = dict(finetune_epochs=0)
default_hooks = dict(schedule=dict(_delete_=True, type='CosineLRHook', warmup_epochs=3))
