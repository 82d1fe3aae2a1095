"""Everything that can go wrong, as one tree.

The HTTP status and the stable machine-readable code sit on the class. So the edge (the HTTP routes, the command line)
translates an error once and without a table. `service.errors` grows the branches that only a server needs.
"""


class SightlineError(Exception):
    """A failure we can explain. The message says what was expected, what came and what to do."""

    status = 500
    code = "internal"
    title = "Internal error"


class ImageError(SightlineError):
    """The image that was sent cannot be classified; its neighbours can."""

    status = 422
    code = "bad-image"
    title = "The image cannot be used"


class UnreadableFile(ImageError):
    """The path that was given cannot be read."""

    code = "unreadable-file"
    title = "The file cannot be read"


class NotAnImage(ImageError):
    """The bytes are not in one of `formats.FORMATS`."""

    status = 415
    code = "not-an-image"
    title = "Not an image we read"


class UndecodableImage(ImageError):
    """The format is known but the content is damaged, truncated or of a kind without a meaning in pixels."""

    code = "undecodable-image"
    title = "The image does not decode"


class ImageTooLarge(ImageError):
    """The header announces more pixels than are decoded here."""

    status = 413
    code = "too-many-pixels"
    title = "The image has too many pixels"


class TooComplexImage(ImageError):
    """The file is in more parts than any honest picture, and would take long to read for what it shows."""

    code = "too-complex-image"
    title = "The image's file is too complex"


class TooSlowToDecode(ImageError):
    """Decoding took more of a processor's time than one picture gets, and was ended."""

    code = "too-slow-to-decode"
    title = "The image takes too long to decode"


class TooMuchToDecode(ImageError):
    """Decoding wanted more memory than its pixels explain, and was ended."""

    code = "too-much-memory-to-decode"
    title = "The image takes too much memory to decode"


class UnknownModel(SightlineError):
    """No such model, or no such version of it."""

    status = 404
    code = "unknown-model"
    title = "Unknown model or version"


class BrokenModel(SightlineError):
    """A version on disk does not keep what its card promises; it must not be served."""

    code = "broken-model"
    title = "The model version cannot be used"


class FilesDiffer(BrokenModel):
    """A file of the version is missing, or is not the one that its card names."""

    code = "files-differ"
    title = "The model's files do not match its card"


class UnreadableCard(BrokenModel):
    """The card is not one that this version of Sightline reads."""

    code = "unreadable-card"
    title = "The model's card cannot be read"


class UnusableNetwork(BrokenModel):
    """The engine cannot load the network, cannot run it, or finds other shapes than the card promises."""

    code = "unusable-network"
    title = "The engine cannot run the model's network"


class WrongAnswer(BrokenModel):
    """The answer to the sample picture is not the card's. `precision` is the arithmetic that gave it."""

    code = "wrong-answer"
    title = "The model does not answer its sample picture as its card says"

    def __init__(self, message: str, precision: str) -> None:
        super().__init__(message)
        self.precision = precision


class RolloutFileError(SightlineError):
    """The roll-out file is wrong, or names a model or version that is not there."""

    status = 409
    code = "rollout-file"
    title = "The roll-out file is wrong"


class OutOfMemory(SightlineError):
    """The network found no memory for this many images at once; fewer may fit."""

    status = 503
    code = "out-of-memory"
    title = "Not enough memory"


class EngineUnavailable(SightlineError):
    """The engine, precision or device that was asked for cannot be had in this process."""

    code = "engine-unavailable"
    title = "The engine is not available"
