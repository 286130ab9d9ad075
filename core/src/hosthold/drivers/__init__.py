"""One abstract class per question "which one does this?". Concrete drivers are found by entry point."""
