"""Who is asking: users, memberships, sessions, API tokens."""
