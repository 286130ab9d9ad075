"""The database: engine, unit of work, migrations. The nouns' tables are in their own `models`."""
