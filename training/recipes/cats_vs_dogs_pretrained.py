"""Cats vs dogs on a network trained on ImageNet: its features with a small head, and its top fine-tuned.

Run:     python -m training fit cats-vs-dogs-features --data cats-vs-dogs.zip
         python -m training fit cats-vs-dogs-finetuned --data cats-vs-dogs.zip
Takes:   cats-vs-dogs-features  0.8 minutes on AMD EPYC, 2 cores
         cats-vs-dogs-finetuned 25.0 minutes on AMD EPYC, 2 cores
Reaches: cats-vs-dogs-features  test accuracy 0.9885 (0.9880 to 0.9890), n=3
         cats-vs-dogs-finetuned test accuracy 0.9878 (0.9875 to 0.9885), n=3
Article: validation accuracy 0.90 with features and 0.94 fine-tuned

Differences from the article: its network is VGG16, here it is EfficientNet-Lite0, smaller and more accurate on
ImageNet. Its head has a dense layer of 256 units, here it is a logistic regression. It validates on 400 images of each
class and has no test images; the images here are those of the 180x180 recipes, so that the three strategies compare.
Batch normalisation, which VGG16 has not, stays as it was on ImageNet.
"""

from __future__ import annotations

from classifier.card import Article
from training.recipes import pretrained
from training.recipes.cats_vs_dogs_180 import AUGMENTED

BLOG = Article(
    title="Building powerful image classification models using very little data",
    author="François Chollet, The Keras Blog",
    split="validation",
)

FEATURES = pretrained.features(
    name="cats-vs-dogs-features",
    model="cats-vs-dogs",
    article=BLOG.model_copy(update={"accuracy": 0.90}),
    reader=AUGMENTED.reader,
    classes=2,
)
FINETUNED = pretrained.finetuned(
    name="cats-vs-dogs-finetuned",
    model="cats-vs-dogs",
    article=BLOG.model_copy(update={"accuracy": 0.94}),
    reader=AUGMENTED.reader,
    classes=2,
)
