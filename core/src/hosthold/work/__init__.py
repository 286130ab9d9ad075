"""Work in the background: doorbells (Huey), the outbox of events, operations, the schedule."""
