"""The embedded task: dates as people write them to ISO 8601."""
