"Imports from elsewhere, exports that open without this library, and releases"
from .exports import export
from .exported import import_export
from .folder_names import import_folder
from .mlflow_runs import import_mlflow
from .pins_board import import_pins
from .releases import read_release
from .reproduced import reproduce
from .sources import SOURCES, source_of

__all__ = ['SOURCES', 'export', 'import_export', 'import_folder', 'import_mlflow', 'import_pins', 'read_release',
           'reproduce', 'source_of']
