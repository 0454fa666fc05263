"""The benchmarks that a configuration can name, and the sources each of them gives."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xlt_ray.config import ConfigError, OwnConfig, OwnSplit, RunConfig
from xlt_ray.data import own as owned
from xlt_ray.data import toy as embedded
from xlt_ray.data.drawn import Shuffled
from xlt_ray.data.hub import HubSource, resolve_revision
from xlt_ray.data.readers import PARQUET, SPLITS, DataFolder, FileSource
from xlt_ray.data.schema import BadRow, Task
from xlt_ray.data.sources import Source
from xlt_ray.labels import LabelSet, Scheme

Metric = Literal["f1", "accuracy", "macro_f1"]

_REASONS = 3
_SPLIT_NAMES = {"train": ("train",), "dev": ("validation", "dev"), "test": ("test",)}


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its task, its labels, and where its data can come from.

    Attributes:
        name: What ``benchmark.name`` says.
        task: Kind of task.
        metric: ``f1`` (of entities), ``accuracy`` or ``macro_f1``.
        labels: Class names; the position of a name is its class id.
        languages: Language codes, where the data comes from the hub or is generated.
        source: The source language unless the configuration names others.
        licence: Licence of the data.
        citation: What to cite.
        hub_id: Owner and name of the hub dataset; None if there is none.
        revision: Commit, branch or tag of it; None is the commit of ``main`` at the time.
        configs: Configuration of the hub dataset for each language whose code is not its name.
        columns: Dataset column of each field that has another name, see `HubSource`.
        split_names: Names that the hub dataset may use for each split, in order of preference.
        scheme: How the tags are written.
        strip_prefix: Whether the tokens of files are written as ``language:token``.
        types: Name among the labels of each entity type that the tags call otherwise, such as
            ``{"POS": "ASP"}`` to read ``B-POS`` as ``B-ASP``.
        is_sorted: Whether its files are sorted by class, so that a limit takes rows at random.
        toy: Task of the embedded benchmark that generates the data; None for real data.
        own: Files of the user's own that are the data, with their task, labels and scheme.
    """

    name: str
    task: Task
    metric: Metric
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    source: str
    licence: str
    citation: str
    hub_id: str | None = None
    revision: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    split_names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(_SPLIT_NAMES))
    scheme: Scheme = "bio"
    strip_prefix: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    is_sorted: bool = False
    toy: str | None = None
    own: OwnConfig | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The source languages unless the configuration names others."""
        return (self.source,) if self.own is None else owned.labelled_in(self.own)

    def has(self, language: str, split: OwnSplit) -> bool:
        """Whether a language may have a split; only of the user's own files is that known."""
        return self.own is None or split in self.own.files.get(language, {})

    @property
    def label_set(self) -> LabelSet:
        """The labels as a `LabelSet`."""
        return LabelSet(self.labels)


_XTREME_LANGUAGES = (
    "en af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw "
    "ta te th tl tr ur vi yo zh"
)
_XNLI_LANGUAGES = "en ar bg de el es fr hi ru sw th tr ur vi zh"
_UDPOS_LANGUAGES = {
    "en": "English",
    "af": "Afrikaans",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "de": "German",
    "el": "Greek",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kk": "Kazakh",
    "ko": "Korean",
    "mr": "Marathi",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "yo": "Yoruba",
    "zh": "Chinese",
}
_UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
_ONTONOTES_TYPES = (
    "CARDINAL DATE EVENT FAC GPE LANGUAGE LAW LOC MONEY NORP ORDINAL ORG PERCENT PERSON PRODUCT "
    "QUANTITY TIME WORK_OF_ART"
)
_MULTICONER_TYPES = {
    "PER": "Person Scientist Artist Athlete Politician Cleric SportsManager OtherPER",
    "LOC": "Location Facility OtherLOC HumanSettlement Station",
    "GRP": "Group MusicalGRP PublicCORP PrivateCORP AerospaceManufacturer SportsGRP "
    "CarManufacturer ORG",
    "PROD": "Product Clothing Vehicle Food Drink OtherPROD",
    "CW": "CreativeWorks VisualWork MusicalWork WrittenWork ArtWork Software",
    "MED": "Medical Medication/Vaccine MedicalProcedure AnatomicalStructure Symptom Disease",
}
"""The types that are told apart, and what the files call them or their kinds."""
_UNER_DEV = ("en_ewt", "da_ddt", "hr_set", "pt_bosque", "sk_snk", "sr_set", "sv_talbanken",
             "zh_gsd", "zh_gsdsimp")  # fmt: skip
_UNER_TEST = ("ceb_gja", "de_pud", "en_pud", "pt_pud", "ru_pud", "sv_pud", "tl_trg",
              "tl_ugnayan", "zh_pud")  # fmt: skip
_POLARITIES = ("POS", "NEG", "NEU", "CON")
_OWN: dict[str, Any] = {
    "languages": embedded.LANGUAGES,
    "source": embedded.LANGUAGES[0],
    "licence": "Apache-2.0, generated by this package",
    "citation": "none, generated by this package",
}


def _bio(types: str) -> tuple[str, ...]:
    return ("O", *(f"{prefix}-{kind}" for kind in types.split() for prefix in "BI"))


BENCHMARKS: dict[str, Benchmark] = {
    "wikiann": Benchmark(
        name="wikiann",
        task="token",
        metric="f1",
        labels=_bio("PER ORG LOC"),
        languages=tuple(_XTREME_LANGUAGES.split()),
        source="en",
        licence="Wikipedia text: CC BY-SA 3.0; the splits carry no licence of their own",
        citation="Pan et al. 2017 (ACL), splits of Rahimi et al. 2019 (ACL)",
        hub_id="unimelb-nlp/wikiann",
        columns={"labels": "ner_tags"},
    ),
    "conll": Benchmark(
        name="conll",
        task="token",
        metric="f1",
        labels=_bio("PER ORG LOC MISC"),
        languages=("en", "de", "es", "nl"),
        source="en",
        licence="news text under terms of its owners, for research; not redistributed",
        citation="Tjong Kim Sang 2002 (CoNLL); Tjong Kim Sang and De Meulder 2003 (CoNLL)",
        scheme="iob1",
    ),
    "multiconer": Benchmark(
        name="multiconer",
        task="token",
        metric="f1",
        labels=_bio(" ".join(_MULTICONER_TYPES)),
        languages=("en", "bn", "de", "es", "fa", "fr", "hi", "it", "pt", "sv", "uk", "zh"),
        source="en",
        licence="CC BY 4.0",
        citation="Fetahu et al. 2023 (SemEval-2023 task 2)",
        types={kind: name for name, kinds in _MULTICONER_TYPES.items() for kind in kinds.split()},
    ),
    "uner": Benchmark(
        name="uner",
        task="token",
        metric="f1",
        labels=_bio("PER ORG LOC"),
        languages=(*_UNER_DEV, *_UNER_TEST),
        source="en_ewt",
        licence="CC BY-SA 4.0 and others, see each treebank",
        citation="Mayhew et al. 2024 (NAACL), Universal NER",
    ),
    "ontonotes": Benchmark(
        name="ontonotes",
        task="token",
        metric="f1",
        labels=_bio(_ONTONOTES_TYPES),
        languages=("bn", "bc", "mz", "nw", "tc", "wb"),
        source="bn",
        licence="LDC2013T19, by licence of the Linguistic Data Consortium; not redistributed",
        citation="Hovy et al. 2006 (NAACL), columns of Pradhan et al. 2012 (CoNLL)",
    ),
    "absa": Benchmark(
        name="absa",
        task="token",
        metric="f1",
        labels=_bio("ASP"),
        languages=("en", "es", "nl", "ru", "tr"),
        source="en",
        licence="terms of the SemEval-2016 organisers; not redistributed",
        citation="Pontiki et al. 2016 (SemEval), restaurants",
        types=dict.fromkeys(_POLARITIES, "ASP"),
    ),
    "udpos": Benchmark(
        name="udpos",
        task="token",
        metric="accuracy",
        labels=tuple(_UPOS.split()),
        languages=tuple(_UDPOS_LANGUAGES),
        source="en",
        licence="of each treebank: most CC BY-SA 4.0, some non-commercial",
        citation="de Marneffe et al. 2021 (CL), selection of Hu et al. 2020 (ICML)",
        hub_id="google/xtreme",
        configs={code: f"udpos.{name}" for code, name in _UDPOS_LANGUAGES.items()},
        columns={"labels": "pos_tags"},
    ),
    "xnli": Benchmark(
        name="xnli",
        task="pair",
        metric="accuracy",
        labels=("entailment", "neutral", "contradiction"),
        languages=tuple(_XNLI_LANGUAGES.split()),
        source="en",
        licence="CC BY-NC 4.0; English train is MultiNLI: OANC, in part CC BY 3.0 and CC BY-SA 3.0",
        citation="Conneau et al. 2018 (EMNLP); train: Williams et al. 2018 (NAACL)",
        hub_id="facebook/xnli",
        columns={"text": "premise", "text_pair": "hypothesis"},
    ),
    "marc": Benchmark(
        name="marc",
        task="sentence",
        metric="accuracy",
        labels=("1 star", "2 stars", "3 stars", "4 stars", "5 stars"),
        languages=("en", "de", "es", "fr", "ja", "zh"),
        source="en",
        licence="terms of Amazon, non-commercial research; withdrawn, mirrored by third parties",
        citation="Keung et al. 2020 (EMNLP)",
        hub_id="mteb/AmazonReviewsClassification",
        is_sorted=True,
    ),
    "sentiment": Benchmark(
        name="sentiment",
        task="sentence",
        metric="macro_f1",
        labels=("negative", "neutral", "positive"),
        languages=("en", "ar", "de", "es", "fr", "hi", "it", "pt"),
        source="en",
        licence="of the files that are given; UMSAB: Apache-2.0, of some parts more strictly",
        citation="Barbieri et al. 2022 (LREC) for UMSAB",
    ),
    "toy": Benchmark(
        name="toy", task="token", metric="f1", labels=embedded.LABELS["ner"], toy="ner", **_OWN
    ),
    "toy_tagging": Benchmark(
        name="toy_tagging",
        task="token",
        metric="accuracy",
        labels=embedded.LABELS["tagging"],
        toy="tagging",
        **_OWN,
    ),
    "toy_pair": Benchmark(
        name="toy_pair",
        task="pair",
        metric="accuracy",
        labels=embedded.LABELS["pair"],
        toy="pair",
        **_OWN,
    ),
    "toy_rating": Benchmark(
        name="toy_rating",
        task="sentence",
        metric="accuracy",
        labels=embedded.LABELS["rating"],
        toy="rating",
        **_OWN,
    ),
}
"""Every benchmark by name.

The train split of English in ``xnli`` is MultiNLI. The train splits of its other languages, machine
translations of it, are read only where ``benchmark.unlabelled_split`` asks for them.
"""


def benchmark_of(config: RunConfig[Any]) -> Benchmark:
    """The benchmark that a configuration names, or its own files as one.

    Raises:
        ConfigError: there is no such benchmark, or the files do not say what they hold.
    """
    if config.benchmark.name != owned.NAME:
        return lookup(config.benchmark.name)
    own = config.own
    if own.task is None or own.labels is None or own.scheme is None:
        own = owned.resolved(config).own
    assert own.task is not None
    assert own.labels is not None
    entities = own.task == "token" and LabelSet(own.labels).is_bio
    return Benchmark(
        name=owned.NAME,
        task=own.task,
        metric="f1" if entities else "accuracy",
        labels=own.labels,
        languages=tuple(own.files),
        source=next(iter(owned.labelled_in(own)), ""),
        licence="that of the files",
        citation="",
        scheme=own.scheme or "bio",
        own=own,
    )


def lookup(name: str) -> Benchmark:
    """The benchmark of a name; raises ConfigError with the names that there are."""
    if name not in BENCHMARKS:
        allowed = ", ".join([*sorted(BENCHMARKS), f"{owned.NAME} (files named by own.files)"])
        raise ConfigError(f"benchmark.name: unknown benchmark {name!r}; allowed: {allowed}")
    return BENCHMARKS[name]


def resolve_targets(
    benchmark: Benchmark,
    root: str | None,
    targets: Sequence[str] | Literal["all"],
    *,
    source_languages: Sequence[str] = (),
    keep_sources: bool = False,
) -> tuple[str, ...]:
    """The target languages of a run.

    Args:
        benchmark: The benchmark.
        root: Folder or URI of its files; None is the hub, or the generator.
        targets: Language codes, or "all" for every language there is but the source languages.
        source_languages: The source languages; by default the benchmark's own.
        keep_sources: Whether "all" has the source languages in it.

    Raises:
        ValueError: a language does not exist or is listed twice, or none is left.
    """
    if targets != "all":
        _check_languages(benchmark, root, targets)
        return tuple(targets)
    excluded = () if keep_sources else source_languages or benchmark.sources
    found = tuple(
        name
        for name in _languages(benchmark, root)
        if name not in excluded and benchmark.has(name, "unlabelled")
    )
    if not found:
        place = benchmark.name if root is None else DataFolder(root).location
        raise ValueError(
            f"benchmark.targets: {place} has no language besides {', '.join(excluded)}"
        )
    return found


def sources(
    benchmark: Benchmark,
    *,
    root: str | None,
    languages: Sequence[str],
    split: OwnSplit,
    toy: Mapping[str, Any] | None = None,
) -> list[Source]:
    """One source per language, in the order of the languages; all are known to exist.

    Below ``root``, a language's folder holds ``<split>.<ending>[.gz]`` with an ending of
    `xlt_ray.data.readers.FORMATS`, or Parquet files as a hub repository does, where it may also be
    called as the configuration there. Without ``root`` the hub is asked for the commit to read.

    Args:
        benchmark: The benchmark.
        root: Folder or URI of its files; None is the hub, or the generator.
        languages: Language codes.
        split: One of train, dev and test; unlabelled of the user's own files.
        toy: Options of the embedded benchmark.

    Raises:
        ValueError: a language or split does not exist, or root, toy and benchmark do not fit.
    """
    if benchmark.own is not None:
        return [owned.source_of(benchmark.own, language, split) for language in languages]
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, allowed: {', '.join(SPLITS)}")
    if toy and benchmark.toy is None:
        raise ValueError(f"benchmark.toy: {benchmark.name} is not generated and takes no options")
    _check_languages(benchmark, root, languages)
    if benchmark.toy is not None:
        return [
            embedded.make_source(benchmark.toy, language, split, toy or {})
            for language in languages
        ]
    if root is not None:
        found: Sequence[Source] = [
            _in_folder(benchmark, root, language, split) for language in languages
        ]
    else:
        assert benchmark.hub_id is not None
        commit = resolve_revision(benchmark.hub_id, benchmark.revision)
        found = [_on_hub(benchmark, language, split, revision=commit) for language in languages]
    return [Shuffled(source) if benchmark.is_sorted else source for source in found]


def check_bad_fraction(bad: Sequence[BadRow], *, total: int, max_fraction: float) -> None:
    """Stop where too many rows are bad.

    Args:
        bad: The quarantined rows.
        total: Number of rows, good and bad.
        max_fraction: Largest fraction of bad rows that is let through.

    Raises:
        ValueError: there are more; says how many in which files, and the first reasons.
    """
    if len(bad) <= max_fraction * total:
        return
    files = Counter(row.file for row in bad)
    where = ", ".join(f"{file} ({count})" for file, count in files.items())
    reasons = "".join(f"\n  {row.file}:{row.line}: {row.reason}" for row in bad[:_REASONS])
    raise ValueError(
        f"{len(bad)} of {total} rows cannot be used ({len(bad) / total:.1%}, "
        f"data.max_bad_fraction is {max_fraction:.1%}) in {where}; the first:{reasons}"
    )


def _languages(benchmark: Benchmark, root: str | None) -> Sequence[str]:
    if benchmark.own is not None:
        return benchmark.languages
    if root is None:
        if benchmark.hub_id is None and benchmark.toy is None:
            raise ValueError(f"benchmark.root: {benchmark.name} is on no hub, set its folder")
        return benchmark.languages
    if benchmark.toy is not None:
        raise ValueError(f"benchmark.root: {benchmark.name} is generated, remove {root!r}")
    codes = {config: code for code, config in benchmark.configs.items()}
    return sorted({codes.get(name, name) for name in DataFolder(root).languages()})


def _folder(benchmark: Benchmark, root: str, language: str) -> str:
    """Name of a language's folder: its code, or else its configuration in a hub repository."""
    config, data = benchmark.configs.get(language), DataFolder(root)
    if config is None or data.has(language) or not data.has(config):
        return language
    return config


def _check_languages(benchmark: Benchmark, root: str | None, languages: Sequence[str]) -> None:
    for position, language in enumerate(languages):
        if root is not None and benchmark.toy is None:
            DataFolder(root).files(_folder(benchmark, root, language))
        elif language not in (there := _languages(benchmark, root)):
            found = ", ".join(there)
            raise ValueError(f"no language {language!r} in {benchmark.name}, there are: {found}")
        if language in languages[:position]:
            raise ValueError(f"language {language!r} is listed twice in {', '.join(languages)}")


def _in_folder(benchmark: Benchmark, root: str, language: str, split: str) -> Source:
    folder = _folder(benchmark, root, language)
    names = [file.name for file in DataFolder(root).files(folder)]
    if all(name.endswith(f".{PARQUET}") for name in names):
        source = replace(_on_hub(benchmark, language, split, folder=root), config=folder)
        source.files()
        return source
    source = FileSource(
        root=root,
        language=language,
        split=split,
        task=benchmark.task,
        scheme=benchmark.scheme,
        strip_prefix=benchmark.strip_prefix,
        types=benchmark.types,
    )
    source.locate()
    return source


def _on_hub(
    benchmark: Benchmark,
    language: str,
    split: str,
    *,
    revision: str | None = None,
    folder: str | None = None,
) -> HubSource:
    return HubSource(
        hub_id=benchmark.hub_id or benchmark.name,
        config=benchmark.configs.get(language, language),
        language=language,
        split=split,
        task=benchmark.task,
        columns=benchmark.columns,
        aliases=benchmark.split_names[split],
        scheme=benchmark.scheme,
        types=benchmark.types,
        revision=revision,
        folder=folder,
    )
