"""Numbers of a layer or of a module, by name; `rmt/measures/contract.py` says what a measure is."""

from rmt.measures import behaviour as behaviour
from rmt.measures import change as change
from rmt.measures import curvature as curvature
from rmt.measures import size as size
from rmt.measures import spectral as spectral
from rmt.measures.contract import MEASURES as MEASURES
from rmt.measures.contract import LayerSubject as LayerSubject
from rmt.measures.contract import ModuleSubject as ModuleSubject
from rmt.measures.contract import Number as Number
from rmt.measures.contract import Result as Result
from rmt.measures.contract import measure as measure
