"""What sends requests: Locust for mixed, checked traffic; wrk for capacity and floods; `arrivals` for the rest."""
