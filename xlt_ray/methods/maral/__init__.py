"""MARAL: maximum-margin span NER with progressive adaptation.

recipe          the method
teacher         spans, and the model that labels them first
student         L_mmc and the adapted labels
student_config  its keys
span_memory     vMF mixtures over the spans of a pool
stock           what an epoch of the student leaves in the record
neighbours      nearest spans, by faiss
source_spans    spans and entities of the source gold
spelling        whether capitals and digits can tell entities
mechanisms      how far its parts were at work
voted           classes of target spans from labellers
baseline        the teacher alone
"""
