"""How requests become operations: routing, problems, paging, authentication, events. No noun lives here."""
