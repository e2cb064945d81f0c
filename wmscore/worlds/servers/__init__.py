"""World models behind a network: one request per row, with errors by row."""

from wmscore.worlds.servers.errors import RowsFailedError, ServiceError, UnavailableError
from wmscore.worlds.servers.model import ServerModel, Service
from wmscore.worlds.servers.patience import Patience
from wmscore.worlds.servers.videos_api import VideosService, videos_model

__all__ = [
    "Patience",
    "RowsFailedError",
    "ServerModel",
    "Service",
    "ServiceError",
    "UnavailableError",
    "VideosService",
    "videos_model",
]
