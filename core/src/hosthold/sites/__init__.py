"""Sites: declared by customers, reconciled by the worker, served by nodes."""
