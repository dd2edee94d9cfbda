"""What the service says of itself: OpenAPI 3.1 of the plain surface, Swagger 2.0 of the dialect, a page to read it."""
