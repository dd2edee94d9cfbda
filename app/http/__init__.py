"""HTTP: the same resources at `/` and at `/rest/v1`. Knows the catalog it is given and no resource by name."""
