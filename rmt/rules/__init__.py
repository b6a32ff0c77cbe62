"""Pruning rules by name; `rmt/rules/contract.py` says what a rule is."""

from rmt.rules import entries as entries
from rmt.rules import ranks as ranks
from rmt.rules import shrinkage as shrinkage
from rmt.rules import thresholds as thresholds
from rmt.rules import vectors as vectors
from rmt.rules.contract import RULES as RULES
from rmt.rules.contract import Rule as Rule
