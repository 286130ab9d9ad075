"""Nodes: the machines that hold sites, themselves declared and reconciled."""
