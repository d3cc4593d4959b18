"""BCE3S in two stages on your own images, on the features of a pretrained network: minutes.

    python tools/train.py PATH --backbone tf_efficientnet_lite0.in1k --weights FILE
    python tools/train.py configs/bce3s/my_folder_frozen.py --cfg-options data_root=PATH \
        own_data.backbone=tf_efficientnet_lite0.in1k own_data.weights=FILE

PATH and what is found in it: see my_folder.py. The network is any of timm by its name, its weights
a file or ``pretrained``, fetched from the Hub. Each image is embedded once and its features are
kept (``~/.cache/bce3s``, or ``BCE3S_CACHE``; safe to delete), then the head is trained on them.
With ``own_data.train`` a part of the network is trained too, on images: ``dict(lora=8)``,
``dict(adapter=16)``, ``dict(blocks=2)``.
"""

_base_ = [
    '../_base_/datasets/own_images.py',
    '../_base_/models/bce3s_frozen.py',
    '../_base_/schedules/sgd_40e_frozen.py',
]

own_data = dict(  # and what configs/_base_/datasets/own_images.py has
    backbone='tf_efficientnet_lite0.in1k',  # of timm
    weights='pretrained',  # a file of them, or those of the Hub
    train=None,  # of the network: nothing; dict(lora=8), dict(adapter=16), dict(blocks=2)
    epochs=None,  # of the first stage; the second has a third
)
train_dataloader = dict(
    collate_fn=dict(type='collated'), batch_sampler=dict(type='PairedBatchSampler')
)
val_dataloader = dict(collate_fn=dict(type='collated'))
default_hooks = dict(logger=dict(interval=20), report=dict(compare_scores=True))
