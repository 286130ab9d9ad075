"""The audit log: who did what, when, to which object; written in the transaction of the change itself."""
