"""ImageNet-1k as folders of images: 1,281,167 training and 50,000 validation images, 1,000 classes.

Not downloaded: put it, or a link to it, at ``data/imagenet`` (``train/CLASS/*.JPEG``,
``val/CLASS/*.JPEG``), or name another folder, balanced or not, by
``train_dataloader.dataset.data_root`` (and set ``model.head.num_classes``). Training: random crop
to 224, flip; test: shorter side 256, centre crop 224. The validation images are the test set, as
usual on ImageNet.
"""

_base_ = './image_files.py'

train_dataloader = dict(
    batch_size=128,
    dataset=dict(split='train', type='ImageFolder', data_root='data/imagenet', duplicates='warn'),
)
val_dataloader = dict(batch_size=250, dataset=dict(type='ImageFolder', split='test'))
auto_scale_lr = dict(base_batch_size=128)
