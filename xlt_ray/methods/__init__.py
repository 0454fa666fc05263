"""The methods: one file or folder each, and one literal dict of them by name.

cltp       CLTP: uncertainty-aware pseudo-partial labels
sl_evi     its loop with one class per word, evidential
sl_leu     the same with learned variances
sl_lou     the same with learned temperatures
maral      MARAL, and bl_spans, its teacher
lvm        LVM and MRT
iwda       IWDA
conlst     CoNLST
kd         distillation of the source model
kd_re      distillation of several
st         self-training on soft labels
hard       hard labels of several sources: each, concatenated, by vote
dt         the best source, directly
bl         fine-tuning without self-training: directly, on each source, on all
nl         negative learning alone; made of parts of conlst
flexmatch  FlexMatch; made of parts of conlst
shared     what several of them are made of
"""

from xlt_ray.methods.bl import BLDirect, BLJoint, BLSingle
from xlt_ray.methods.cltp.recipe import CLTP
from xlt_ray.methods.conlst.recipe import CoNLST
from xlt_ray.methods.dt import DT
from xlt_ray.methods.flexmatch import FlexMatch
from xlt_ray.methods.hard import Hard, HardCat, HardVote
from xlt_ray.methods.iwda.recipe import IWDA
from xlt_ray.methods.kd import KD
from xlt_ray.methods.kd_re import KDre
from xlt_ray.methods.lvm.recipe import LVM, MRT
from xlt_ray.methods.maral.baseline import BLSpans
from xlt_ray.methods.maral.recipe import MARAL
from xlt_ray.methods.nl import NL
from xlt_ray.methods.sl_evi import SLEVI
from xlt_ray.methods.sl_leu import SLLEU
from xlt_ray.methods.sl_lou import SLLOU
from xlt_ray.methods.st import ST
from xlt_ray.recipe.method import Method

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
