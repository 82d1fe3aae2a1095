"""What people write first: FastAPI, one image at a time, `model.predict`. In float32, as Keras loads it."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response

from classifier import images, store
from load_tests.peers.network import Conditions, as_json

CONDITIONS = Conditions.from_environment()
CARD, FOLDER = CONDITIONS.version()
MODEL = keras.saving.load_model(FOLDER / store.KERAS, compile=False)
APP = FastAPI()


@APP.post("/predict")
async def predict(request: Request) -> Response:
    pixels = images.decode(await request.body(), CARD.input)
    row = MODEL.predict(np.expand_dims(pixels, 0), verbose=0)[0]
    return Response(as_json(CARD, row), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=CONDITIONS.port, access_log=False, log_level="warning")
