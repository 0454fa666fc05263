"""The methods by name: one literal dict."""

from xlt_ray.methods.base import Method
from xlt_ray.methods.bl import BLDirect, BLJoint, BLSingle
from xlt_ray.methods.bl_spans import BLSpans
from xlt_ray.methods.cltp import CLTP
from xlt_ray.methods.conlst import CoNLST
from xlt_ray.methods.dt import DT
from xlt_ray.methods.flexmatch import FlexMatch
from xlt_ray.methods.hard import Hard, HardCat, HardVote
from xlt_ray.methods.iwda import IWDA
from xlt_ray.methods.kd import KD
from xlt_ray.methods.kd_re import KDre
from xlt_ray.methods.maral import MARAL
from xlt_ray.methods.mrt_lvm import LVM, MRT
from xlt_ray.methods.nl import NL
from xlt_ray.methods.sl_evi import SLEVI
from xlt_ray.methods.sl_leu import SLLEU
from xlt_ray.methods.sl_lou import SLLOU
from xlt_ray.methods.st import ST

METHODS: dict[str, type[Method]] = {
    "cltp": CLTP,
    "bl_direct": BLDirect,
    "bl_single": BLSingle,
    "bl_joint": BLJoint,
    "sl_evi": SLEVI,
    "sl_leu": SLLEU,
    "sl_lou": SLLOU,
    "st": ST,
    "dt": DT,
    "hard": Hard,
    "hard_cat": HardCat,
    "hard_vote": HardVote,
    "kd_re": KDre,
    "mrt": MRT,
    "lvm": LVM,
    "iwda": IWDA,
    "kd": KD,
    "conlst": CoNLST,
    "nl": NL,
    "flexmatch": FlexMatch,
    "maral": MARAL,
    "bl_spans": BLSpans,
}
