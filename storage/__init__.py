"""Tables, queries, migrations and the instance file store."""
