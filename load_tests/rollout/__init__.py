"""New versions, switches, rollbacks and canaries of a server that answers meanwhile."""
