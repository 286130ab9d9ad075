"""Looking at programs from outside, for drivers that start and watch them."""

from hosthold.node.probe import names_a_cause, run_reload, shortened
from hosthold.node.process import children_of, has_ended
from hosthold.node.settling import settles

__all__ = ["children_of", "has_ended", "names_a_cause", "run_reload", "settles", "shortened"]
