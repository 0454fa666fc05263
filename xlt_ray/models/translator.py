"""Translation by a sequence-to-sequence checkpoint: MarianMT, mBART-50, M2M-100 and their kin."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.stock import stock


class Translator:
    """A checkpoint, loaded, and the languages between which it translates.

    Texts are sorted by length and batched under a token budget; decoding has nothing random.

    Args:
        folder: Local folder in the Hugging Face layout.
        source: Language of the texts.
        target: Language that they are translated into.
        codes: The checkpoint's own names of languages, where they cannot be told.
        beams: Beams of the search; 1: the likeliest token each time.
        max_new_tokens: Longest translation in sub-words.
        budget: Token budget of a batch: rows x beams x the longest text, read or written.
        device: Where to compute.
        arithmetic: Makes the context that the model runs in, such as one of bf16.

    Raises:
        ValueError: a checkpoint of many languages has none, or several, of a name.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        target: str,
        *,
        codes: Mapping[str, str] = MappingProxyType({}),
        beams: int,
        max_new_tokens: int,
        budget: int,
        device: torch.device,
        arithmetic: Callable[[], AbstractContextManager[object]],
    ):
        self.tokenizer: Any = stock("AutoTokenizer").from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        model: Any = stock("AutoModelForSeq2SeqLM").from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            trust_remote_code=False,
        )
        self.model = model.to(device).eval()
        self.model.generation_config.max_length = None  # the number of new tokens says it
        self.device, self.budget, self.arithmetic = device, budget, arithmetic
        self.options = {"num_beams": beams, "do_sample": False, "max_new_tokens": max_new_tokens}
        positions = getattr(self.model.config, "max_position_embeddings", 512)
        self.longest = min(positions, max(self.tokenizer.model_max_length, 1))
        self.beams, self.prefix = beams, ""
        self.speak(source, target, codes)

    def speak(self, source: str, target: str, codes: Mapping[str, str]) -> None:
        """Tell a checkpoint of many languages which two are meant; others know only two.

        Raises:
            ValueError: it has none, or several, of a name.
        """
        marked = getattr(self.tokenizer, "supported_language_codes", [])
        if marked:  # Marian: the language stands before the text
            names = {name.strip("><") for name in marked}
            self.prefix = f">>{_code(target, names, codes)}<< "
        elif hasattr(self.tokenizer, "src_lang"):
            names = set(
                getattr(self.tokenizer, "lang_code_to_id", None) or _special(self.tokenizer)
            )
            number = getattr(self.tokenizer, "get_lang_id", self.tokenizer.convert_tokens_to_ids)
            self.tokenizer.src_lang = _code(source, names, codes)
            self.options["forced_bos_token_id"] = number(_code(target, names, codes))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Translations in the order of the texts; too long a text is cut."""
        if not texts:
            return []
        read = [f"{self.prefix}{text}" for text in texts]
        inputs = self.tokenizer(read, truncation=True, max_length=self.longest)["input_ids"]
        lengths = np.array([len(ids) for ids in inputs], np.int64)
        sizes = np.maximum(lengths, self.options["max_new_tokens"]) * self.beams
        found = [""] * len(texts)
        order = np.argsort(lengths, kind="stable")
        for chosen in plan_batches(sizes, np.ones_like(sizes), self.budget, order=order):
            batch = self.tokenizer.pad(
                {"input_ids": [inputs[index] for index in chosen]}, return_tensors="pt"
            ).to(self.device)
            with self.arithmetic():
                given = self.model.generate(**batch, **self.options)
            translations = self.tokenizer.batch_decode(given, skip_special_tokens=True)
            for index, translation in zip(chosen, translations, strict=True):
                found[index] = translation.strip()
        return found


def _special(tokenizer: Any) -> list[str]:
    return [name for name in tokenizer.all_special_tokens if not name.startswith("<")]


def _code(language: str, names: Collection[str], codes: Mapping[str, str]) -> str:
    """A checkpoint's own name of a language."""
    wanted = codes.get(language, language)
    found = [wanted] if wanted in names else [x for x in names if x.startswith(f"{wanted}_")]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(found or names))
    raise ValueError(
        f"translation.codes: the checkpoint has {'several' if found else 'no'} languages named "
        f"{wanted!r}: {known}; give one of them as translation.codes.{language}"
    )
