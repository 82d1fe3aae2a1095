"""What engines need before they are opened."""

from __future__ import annotations


def ready_engines() -> None:
    """Import TensorFlow without its start-up lines, where a GPU makes it the engine that serves."""
    from classifier.engines import default_engine
    from training.fitting.tensorflow_import import import_tensorflow

    if default_engine() == "tensorflow":
        import_tensorflow()
