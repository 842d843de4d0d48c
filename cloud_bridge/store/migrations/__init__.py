"""Steps of the schema. Each is what it was when it was released."""
