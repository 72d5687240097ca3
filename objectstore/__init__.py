"""One interface to the systems that hold a data lab's work: S3 services, shared volumes and local files

What is stored has versions and metadata, and is found by them."""
__version__ = "0.1.0"

from .errors import (CommitUnknown, Conflict, Damaged, InvalidCall, InvalidQuery, InvalidRef, MissingExtra,
                     NoSuchFile, NotAvailableOffline, NotFound, ObjectStoreError, PendingWarning, Protected,
                     StaleWarning, StillPending, TierMismatch, Unsupported, Untrusted)
from .storage.options import BucketMissing, Refused
from .storage.config import InvalidSettings, get_config
from .storage.urls import register_backend
from .format.witness import Renewed
from .cache.breaker import Gone, NeverReached
from .codecs.codec import Codec, register_codec
from .care.doctor import doctor
from .care.report import Report
from .versions.version import Folder, Stats, Version, Versions
from .versions.bundle import Bundle
from .store.opening import ObjectStoreInterface
from .store.store import LocalObjectStore, ObjectStore
from .computed.fingerprint import Secret
from .computed.calculated import CalculationFailed, Cycle, scratch
from .computed.mapping import MapFailed
from .browser.browse import browse
from .testing.service import ServiceFailed

__all__ = ['ObjectStore', 'LocalObjectStore', 'ObjectStoreInterface', 'Version', 'Versions', 'Folder', 'Bundle',
           'Stats', 'get_config', 'doctor', 'Report', 'browse', 'register_backend', 'Codec', 'register_codec',
           'ObjectStoreError', 'NotFound', 'NoSuchFile', 'NotAvailableOffline', 'Conflict', 'Protected', 'Untrusted',
           'Damaged', 'InvalidCall', 'InvalidRef', 'InvalidQuery', 'TierMismatch', 'Unsupported', 'CommitUnknown',
           'StillPending', 'MissingExtra', 'BucketMissing', 'Refused', 'ServiceFailed', 'InvalidSettings', 'Renewed',
           'Gone', 'NeverReached', 'PendingWarning', 'StaleWarning', 'CalculationFailed', 'MapFailed', 'Cycle',
           'scratch', 'Secret']

def __dir__() -> list[str]: return [*__all__, '__version__']
