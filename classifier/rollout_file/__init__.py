"""The roll-out file: which version of a model answers which requests.

`rollout.toml` lies beside the models, in `models/`. It has a table for each model that it says something about; the
others, and all models where there is no file, are answered by their newest sound version. docs/releasing.md has more.
"""

from __future__ import annotations

from classifier.rollout_file.content import (
    ALIAS_PATTERN,
    FILE,
    NOTHING_SAID,
    Guard,
    ModelRollout,
    Rollout,
    check_versions,
    parsed,
    read,
)
from classifier.rollout_file.writing import alias_key, set_alias, set_values

__all__ = [
    "ALIAS_PATTERN",
    "FILE",
    "NOTHING_SAID",
    "Guard",
    "ModelRollout",
    "Rollout",
    "alias_key",
    "check_versions",
    "parsed",
    "read",
    "set_alias",
    "set_values",
]
