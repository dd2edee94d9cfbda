"""Every way to change something by HTTP: for each route a request that does, and one that is refused."""
