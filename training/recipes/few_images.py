"""CIFAR-10 and the letters of American Sign Language on a pretrained network, for when there are few images.

Run:     python -m training fit cifar-10-features --data cifar-10.zip
         python -m training fit asl-features --data sign-mnist.zip
Takes:   cifar-10-features 3.8 minutes on AMD EPYC, 2 cores
         asl-features      0.6 minutes on AMD EPYC, 2 cores
Reaches: cifar-10-features test accuracy 0.7792, n=1
         asl-features      test accuracy 0.9992, n=1
Article: states no figure

Differences from the articles of these data sets: all but the images and their splits. The images are enlarged, and grey
ones copied to three channels, because the pretrained network knows photos.
"""

from __future__ import annotations

from classifier.card import Article
from training.recipes import asl, cifar10, pretrained

CIFAR10 = pretrained.features(
    name="cifar-10-features",
    model="cifar-10",
    article=Article(title="Features of a pretrained network, on the images of " + cifar10.AUGMENTED.article.title),
    reader=cifar10.AUGMENTED.reader,
    classes=10,
    side=128,
)
ASL = pretrained.features(
    name="asl-features",
    model="asl",
    article=Article(title="Features of a pretrained network, on the images of " + asl.AUGMENTED.article.title),
    reader=asl.AUGMENTED.reader,
    classes=24,
    side=128,
)
