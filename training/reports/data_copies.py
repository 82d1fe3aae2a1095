"""The copies of the data sets that the committed runs were fitted on, and how they differ from the articles'."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Copy:
    """`brief` stands beside every figure, `differs` once in the report.

    `fingerprints` are those of the data sets that recipes read from this copy, `official` those that they read from the
    official download; the report says where a run saw others.
    """

    brief: str
    differs: str
    fingerprints: frozenset[str]
    official: frozenset[str] = frozenset()

    def brief_of(self, fingerprint: str) -> str:
        return "as published" if fingerprint in self.official else self.brief


COPIES = {
    "cats-vs-dogs": Copy(
        brief="200x200 copies",
        differs=(
            "Kaggle's images 0 to 2499 of each class, so the articles' subsets can be taken by number. The source of "
            "these copies had resized every image to 200x200 and saved it as JPEG again; the articles read the "
            "original photos, of many sizes and shapes, and resized those."
        ),
        fingerprints=frozenset(
            {
                "ba745f4f4faa7bc45baba7428cd07a2cb03967b78777db2d1b89ae5aeadf44a3",  # 180x180, 2nd edition's ranges
                "5bcd7c48658839f3f1438e4a820b453b7f321a2d529af5c315431cb5aec884e0",  # 224x224, 2nd edition's ranges
                "fe19a575ab7cbcc06f208841500c9ec2b48469fc59176567d42072445353a001",  # 150x150, 1st edition's ranges
                "55cb522cef29a7eefb7bc247f140fd5e7108c85f7faa87037d67166e1186212f",  # 150x150, the blog's ranges
            }
        ),
    ),
    "cifar-10": Copy(
        brief="JPEG copies, half of the test images",
        differs=(
            "All 50,000 training images and 5,000 of the 10,000 test images (the first 500 files of each class), "
            "re-encoded by the source as JPEG of quality 75. The official download, which the article used, is "
            "lossless, and figures of it are marked *as published*. What the copies cost was measured with one recipe: "
            "`cifar-10-fast` reaches 0.936 on the images as published and 0.905 on these copies. Of the 5,000 test "
            "images 237 are nearly the same as one of the training images, as `sightline check` counts; of the 10,000 "
            "as published 453. The images as published were taken from sheets in PNG, and have the means and the "
            "deviation that are known of the official ones (125.3069, 122.9504, 113.8654; 64.1501)."
        ),
        fingerprints=frozenset(
            {
                "01955e4989993d102269d033cff8589275b3d05db4ffb3afb68b044ce1836b1e",  # 30 % for validation
                "aa8b69dc81858c9ec36ada1315b5f9d4440474cb6fc73c08fce321e334916fcf",  # 10 % for validation
            }
        ),
        official=frozenset(
            {
                "78f3a4ee807a8c3faa29e0c724fc3463f57ec7d8b0669b5128e1425c3a1a6403",  # 10 % for validation, 32x32
                "d70d2e66a5af133557813046bcd3c92ebf06839a1d9fa27036041114e72683e1",  # the same, 112x112
            }
        ),
    ),
    "sign-mnist": Copy(
        brief="part of the official test file; near-duplicates flatter the figure",
        differs=(
            "5,977 rows of the official *test* file, split by row number into 4,782 for training and validation and "
            "1,195 for the test; the official training file (27,455 rows), which the article used, was not to be had. "
            "Every image was contrast-stretched by the source to 0..255, which the official ones are not. The "
            "rows show few hands and hold near-duplicates, so images much like the test's were trained on: the "
            "accuracy says little about another person's hand."
        ),
        fingerprints=frozenset({"0b03d91b0b76cb4087548ec196ef80a49c3f13ac4dc22606f22418e0fb750fcd"}),
    ),
}
