"""Classify a photo by the client that openapi-python-client makes of the OpenAPI document: URL MODEL PHOTO."""

import json
import sys
from io import BytesIO
from pathlib import Path

from made import Client
from made.api.classify import predict
from made.models import Predictions
from made.types import File

url, model, photo = sys.argv[1:]
with Client(base_url=url) as client:
    said = predict.sync(model, client=client, body=File(BytesIO(Path(photo).read_bytes())), top_k=1)
if not isinstance(said, Predictions):
    raise SystemExit(f"not answered: {said}")
top = said.predictions[0]
answer = {"model": said.model, "version": said.version, "label": top.label, "probability": top.probability}
json.dump(answer, sys.stdout)
