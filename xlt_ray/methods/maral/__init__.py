"""MARAL: maximum-margin span NER with progressive adaptation.

recipe          the method
teacher         spans, and the model that labels them first
student         L_mmc and the adapted labels
student_config  its keys
span_memory     vMF mixtures over the spans of a pool
neighbours      nearest spans, by faiss
baseline        the teacher alone
"""
