"""How many replicas a traffic needs: a simulation of them, and a measured run that it is held to."""
