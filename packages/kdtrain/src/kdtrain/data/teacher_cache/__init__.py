"""Teacher_cache."""
