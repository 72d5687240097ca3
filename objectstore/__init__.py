"""One interface to the systems that hold a data lab's work: versions, metadata and search over S3 services, shared volumes and local files"""
__version__ = "0.1.0"

from .names import (CommitUnknown, Conflict, Damaged, InvalidCall, InvalidQuery, InvalidRef, MissingExtra, NotAvailableOffline, NotFound, ObjectStoreError,
                    PendingWarning, Protected, StaleWarning, StillPending, TierMismatch, Unsupported, Untrusted)
from .connect import BucketMissing, Refused
from .service import ServiceFailed
from .settings import InvalidSettings, get_config
from .witness import Renewed
from .breaker import Gone, NeverReached
from .versions import Folder, Stats, Version, Versions
from .store import LocalObjectStore, ObjectStore, ObjectStoreInterface
from . import whole, putting, naming, finding, copying, many, offline, care, watch, history
from .calculated import CalculationFailed, Cycle, scratch
from . import lineage, calculations
from .calculations import MapFailed
from .browser import browse

__all__ = ['ObjectStore', 'LocalObjectStore', 'ObjectStoreInterface', 'Version', 'Versions', 'Folder', 'Stats', 'get_config', 'browse', 'ObjectStoreError', 'NotFound',
           'NotAvailableOffline', 'Conflict', 'Protected', 'Untrusted', 'Damaged', 'InvalidCall', 'InvalidRef', 'InvalidQuery', 'TierMismatch', 'Unsupported', 'CommitUnknown',
           'StillPending', 'MissingExtra', 'BucketMissing', 'Refused', 'ServiceFailed', 'InvalidSettings', 'Renewed', 'Gone', 'NeverReached', 'PendingWarning', 'StaleWarning',
           'CalculationFailed', 'MapFailed', 'Cycle', 'scratch']
