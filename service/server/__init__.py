"""The connections of callers, on uvicorn. The only folder that may import uvicorn, click or `bentoml._internal`."""
