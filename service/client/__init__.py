"""Ask a Sightline server from Python: `Client`, and `AsyncClient` for asyncio.

    from sightline_client import Client  # in a checkout: from service.client import Client

    with Client("http://127.0.0.1:3000") as client:
        print(client.predict("cats-vs-dogs", "cat.jpg").top)
        for path, result in client.predict_many("cats-vs-dogs", "photos/"):
            print(path, result)

Needs httpx only; Pillow and NumPy are imported when a picture or an array is sent. Knows nothing of the server's code.
"""

from .asynchronous import AsyncClient
from .blocking import Client
from .errors import (
    BadImage,
    BadRequest,
    ClientError,
    ConnectionFailed,
    ConnectionLost,
    DeadlinePassed,
    Misconfigured,
    ModelNotServed,
    NotAnImage,
    QueueFull,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UndecodableImage,
    UnexpectedAnswer,
    UnknownModel,
    UnreadableFile,
)
from .results import Answered, Explanation, Model, ModelSummary, Prediction, Predictions
from .sources import ImageLike, Images

__all__ = [
    "Answered",
    "AsyncClient",
    "BadImage",
    "BadRequest",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ConnectionLost",
    "DeadlinePassed",
    "Explanation",
    "ImageLike",
    "Images",
    "Misconfigured",
    "Model",
    "ModelNotServed",
    "ModelSummary",
    "NotAnImage",
    "Prediction",
    "Predictions",
    "QueueFull",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UndecodableImage",
    "UnexpectedAnswer",
    "UnknownModel",
    "UnreadableFile",
]
