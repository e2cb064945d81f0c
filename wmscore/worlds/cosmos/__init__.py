"""NVIDIA Cosmos: forward and inverse dynamics of Cosmos 3, and inputs written from a panel."""

from wmscore.worlds.cosmos.domains import COSMOS_DOMAINS, CosmosDomain, cosmos_domain
from wmscore.worlds.cosmos.forward import Cosmos3Model
from wmscore.worlds.cosmos.inverse import CosmosActionRecogniser, action_codebook
from wmscore.worlds.cosmos.predict import write_predict_annotations, write_predict_inputs
from wmscore.worlds.cosmos.records import write_cosmos3_jsonl
from wmscore.worlds.cosmos.rows import CosmosExport

__all__ = [
    "COSMOS_DOMAINS",
    "Cosmos3Model",
    "CosmosActionRecogniser",
    "CosmosDomain",
    "CosmosExport",
    "action_codebook",
    "cosmos_domain",
    "write_cosmos3_jsonl",
    "write_predict_annotations",
    "write_predict_inputs",
]
