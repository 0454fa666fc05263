"""Neural modules: encoders with heads.

classifier       what every model here is
families         ways in which families of encoders differ
heads            what a stock head makes of an encoder's states
tagger           a class per word
text_classifier  a class per text
span_tagger      a class per span
critic           the critic of domain alignment
translator       sequence to sequence
lora             low-rank adapters in place of the encoder
load             any of them from a folder
whole            checks a folder before it is loaded
files            files beside those of transformers
pretrain         a small encoder made here
onnx             export
int8             encoders in int8 on CPUs
int8_stock       stock classifiers in int8, for export
"""
