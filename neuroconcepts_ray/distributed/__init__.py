"""The engine: connect to Ray, map shards, train, report progress. Rooms give it pure functions and plain specs."""
