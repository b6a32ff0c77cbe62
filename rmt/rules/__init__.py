"""Pruning rules by name; `rmt/rules/contract.py` says what a rule is."""

from rmt.rules import thresholds as thresholds
from rmt.rules.contract import RULES as RULES
from rmt.rules.contract import Rule as Rule
