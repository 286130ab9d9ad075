"""The node: what applies signed orders to one machine. It knows the contract, the kernel and its own small database."""
