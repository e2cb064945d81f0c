"""Video files: read them whole, in part or many at once; bring them to a rate; write them."""

from wmscore.video.ahead import ahead, in_background
from wmscore.video.container import stored_facts
from wmscore.video.decode import probe_video
from wmscore.video.encode import ENCODINGS, encode_video, write_video
from wmscore.video.facts import CodecFacts, Video, VideoError
from wmscore.video.jpeg import jpeg_loss
from wmscore.video.png import png_bytes
from wmscore.video.rate import constant_rate_index, to_constant_rate
from wmscore.video.read import read_video
from wmscore.video.reencode import Reencoding, reencode
from wmscore.video.resize import resize_frames
from wmscore.video.torchcodec import torchcodec_lack

__all__ = [
    "ENCODINGS",
    "CodecFacts",
    "Reencoding",
    "Video",
    "VideoError",
    "ahead",
    "constant_rate_index",
    "encode_video",
    "in_background",
    "jpeg_loss",
    "png_bytes",
    "probe_video",
    "read_video",
    "reencode",
    "resize_frames",
    "stored_facts",
    "to_constant_rate",
    "torchcodec_lack",
    "write_video",
]
