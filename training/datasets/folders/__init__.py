"""Anybody's own photos: a folder (or an archive of it) with one sub-folder for each class."""

from __future__ import annotations

from training.datasets.folders.layout import LAYOUT
from training.datasets.folders.reader import ClassFolders, Folders, read_class_folders

__all__ = ["LAYOUT", "ClassFolders", "Folders", "read_class_folders"]
