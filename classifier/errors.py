"""Everything that can go wrong, as one tree.

The HTTP status and the stable machine-readable code sit on the class, so that the edge (the HTTP routes, the command
line) translates an error once and without a table. `service.errors` grows the branches that only a server needs.
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
    title = "The model's files do not match its card"


class OutOfMemory(SightlineError):
    """The network found no memory for this many images at once; fewer may fit."""

    status = 503
    code = "out-of-memory"
    title = "Not enough memory"


class EngineUnavailable(SightlineError):
    """The engine, precision or device that was asked for cannot be had in this process."""

    code = "engine-unavailable"
    title = "The engine is not available"
