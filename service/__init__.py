"""How a classifier is offered over HTTP. Knows `classifier`, never `training`."""
