"""What is answered over HTTP: ASGI in, ASGI out. Knows neither uvicorn nor engines."""
