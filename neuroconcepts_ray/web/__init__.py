"""Serving: the HTTP interface of a search service, on a laptop by uvicorn and over shards by Ray Serve."""
