"""The registry: what is in it, languages, sources, and the limit on bad rows."""

import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.folders import write
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import Split
from xlt_ray.data.benchmarks import registry, toy
from xlt_ray.data.benchmarks.registry import (
    BENCHMARKS,
    check_bad_fraction,
    lookup,
    resolve_targets,
    sources,
)
from xlt_ray.data.readers.files import FileSource
from xlt_ray.data.readers.hub import HubSource
from xlt_ray.data.schema import BadRow, Example

WIKIANN = BENCHMARKS["wikiann"]
XNLI = BENCHMARKS["xnli"]
CONLL = BENCHMARKS["conll"]
ONTONOTES = BENCHMARKS["ontonotes"]
ABSA = BENCHMARKS["absa"]
UDPOS = BENCHMARKS["udpos"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Column files in English and German, a JSONL file without train in Swahili."""
    for name in ("en/train.txt", "en/dev.txt", "de/train.conll", "de/dev.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Anna\tB-PER\n\n")
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw/dev.jsonl").write_text('{"tokens": ["Anna"], "tags": ["B-PER"]}\n')
    return tmp_path


def test_entries_are_consistent() -> None:
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert benchmark.source == benchmark.languages[0]
        assert len(set(benchmark.languages)) == len(benchmark.languages)
        assert set(benchmark.split_names) == {"train", "dev", "test"}
        assert benchmark.toy is None or benchmark.hub_id is None
        assert (benchmark.metric == "f1") == benchmark.label_set.is_bio
        assert benchmark.licence
        assert benchmark.citation
        assert set(benchmark.configs) <= set(benchmark.languages)
        assert len(set(benchmark.configs.values())) == len(benchmark.configs)
        assert set(benchmark.types.values()) <= set(benchmark.label_set.entity_types)


def test_wikiann() -> None:
    """Class ids as on the dataset's card; the 40 languages of XTREME's PAN-X."""
    assert WIKIANN.labels == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    assert len(WIKIANN.languages) == 40
    assert WIKIANN.languages[0] == WIKIANN.source == "en"


def test_xnli() -> None:
    """Class ids and column names as on the dataset's card; XNLI's 15 languages."""
    assert XNLI.labels == ("entailment", "neutral", "contradiction")
    assert (XNLI.task, XNLI.metric, XNLI.source) == ("pair", "accuracy", "en")
    assert sorted(XNLI.languages) == (
        ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]
    )
    (item,) = sources(replace(XNLI, revision=COMMIT), root=None, languages=["sw"], split="dev")
    identity = item.identity()
    assert (identity["hub_id"], identity["config"]) == ("facebook/xnli", "sw")
    assert identity["columns"] == {
        "text": "premise", "text_pair": "hypothesis", "label": "label",
    }  # fmt: skip
    assert identity["split"][0] == "validation"


def test_conll() -> None:
    assert CONLL.labels == (
        "O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC",
    )  # fmt: skip
    assert (CONLL.scheme, CONLL.hub_id) == ("iob1", None)
    assert sorted(CONLL.languages) == ["de", "en", "es", "nl"]


def conll(root: Path, name: str, content: str | bytes) -> list[Example | BadRow]:
    write(root, content, f"{name}/test.txt")
    (item,) = sources(CONLL, root=str(root), languages=[name], split="test")
    return list(item.examples(CONLL.label_set))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "en",
            "-DOCSTART- -X- O O\n\nUlm NNP I-NP I-LOC\nBonn NNP I-NP B-LOC\nAnna NNP I-NP I-PER\n"
            "Ott NNP I-NP I-PER\n. . O O\n",
        ),
        (
            "de",
            "Ulm Ulm NE I-NC I-LOC\nBonn Bonn NE I-NC B-LOC\nAnna Anna NE I-NC I-PER\n"
            "Ott Ott NE I-NC I-PER\n. . $. O O\n",
        ),
        (
            "nl",
            "-DOCSTART- -DOCSTART- O\nUlm N B-LOC\nBonn N B-LOC\nAnna N B-PER\nOtt N I-PER\n. P O",
        ),
        ("es", "Ulm B-LOC\nBonn B-LOC\nAnna B-PER\nOtt I-PER\n. O\n"),
    ],
)
def test_all_layouts_of_conll(tmp_path: Path, name: str, content: str) -> None:
    """IOB1 with four and five columns, BIO with three and two, say the same."""
    (row,) = conll(tmp_path, name, content)
    assert isinstance(row, Example)
    assert row.tokens == ("Ulm", "Bonn", "Anna", "Ott", ".")
    assert row.labels == (5, 5, 1, 2, 0)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(CONLL.labels), min_size=1, max_size=8))
def test_files_in_bio_stay_as_they_are(tmp_path: Path, tags: list[str]) -> None:
    """Any BIO sequence; an I- that continues nothing is made a B-."""
    bio = [
        f"B{tag[1:]}" if tag[0] == "I" and tag[2:] != before[2:] else tag
        for before, tag in itertools.pairwise(["O", *tags])
    ]
    (row,) = conll(tmp_path, "nl", "".join(f"w N {tag}\n" for tag in bio))
    assert isinstance(row, Example)
    assert isinstance(row.labels, tuple)
    assert [CONLL.labels[label] for label in row.labels] == bio


def test_latin_1_is_said_to_be_no_utf_8(tmp_path: Path) -> None:
    content = "in O\nMünchen I-LOC\n"
    (bad,) = conll(tmp_path, "de", content.encode("latin-1"))
    assert bad == BadRow("de/test.txt", 2, r"token b'M\xfcnchen' is not valid UTF-8")
    (good,) = conll(tmp_path, "de", content)
    assert isinstance(good, Example)
    assert good.labels == (0, 5)


@pytest.mark.parametrize("name", ["absa", "conll", "ontonotes"])
def test_benchmarks_of_a_folder_alone(name: str) -> None:
    benchmark = BENCHMARKS[name]
    message = f"benchmark.root: {name} is on no hub, set its folder"
    for targets in (["en"], "all"):
        with pytest.raises(ValueError, match=message):
            resolve_targets(benchmark, None, targets)
    with pytest.raises(ValueError, match=message):
        sources(benchmark, root=None, languages=["en"], split="dev")


def test_ontonotes(tmp_path: Path) -> None:
    """18 types; 0 is O, DATE is the second type, WORK_OF_ART the last."""
    assert len(ONTONOTES.labels) == 37
    assert len(ONTONOTES.label_set.entity_types) == 18
    assert list(ONTONOTES.label_set.entity_types) == sorted(ONTONOTES.label_set.entity_types)
    assert set(ONTONOTES.languages) == {"bc", "bn", "mz", "nw", "tc", "wb"}
    assert (ONTONOTES.source, ONTONOTES.metric) == ("bn", "f1")
    rows = [("in", "*"), ("2008", "(DATE)"), ("Das", "(WORK_OF_ART*"), ("Boot", "*)")]
    lines = [f"x 0 0 {word} NN * - - - - {entity} -\n" for word, entity in rows]
    write(tmp_path, "".join(lines), "wb/test.gold_conll")
    (item,) = sources(ONTONOTES, root=str(tmp_path), languages=["wb"], split="test")
    (row,) = item.examples(ONTONOTES.label_set)
    assert isinstance(row, Example)
    assert row.labels == (0, 3, 35, 36)


def test_udpos_on_the_hub() -> None:
    """Tags as on the dataset's card, whose configurations have the languages' English names."""
    assert len(UDPOS.labels) == 17
    assert list(UDPOS.labels) == sorted(UDPOS.labels)
    assert (UDPOS.metric, UDPOS.source, len(UDPOS.languages)) == ("accuracy", "en", 33)
    pinned = replace(UDPOS, revision=COMMIT)
    found = sources(pinned, root=None, languages=["en", "de", "zh"], split="dev")
    assert [item.language for item in found] == ["en", "de", "zh"]
    identities = [item.identity() for item in found]
    assert [identity["config"] for identity in identities] == [
        "udpos.English", "udpos.German", "udpos.Chinese",
    ]  # fmt: skip
    assert identities[0]["hub_id"] == "google/xtreme"
    assert identities[0]["columns"] == {"tokens": "tokens", "labels": "pos_tags"}
    with pytest.raises(ValueError, match="no language 'ca' in udpos, there are: en, af, ar"):
        sources(pinned, root=None, languages=["ca"], split="dev")


def test_udpos_in_a_folder(tmp_path: Path) -> None:
    """Columns, CoNLL-U, and Parquet as in the repository, of a language not on the hub as well."""
    write(tmp_path, "Haus\tNOUN\n", "ca/dev.txt")
    write(tmp_path, "1\tHaus\t_\tNOUN" + "\t_" * 6 + "\n", "de/dev.conllu")
    table = pa.table({"tokens": [["Haus"]], "pos_tags": [[7]]})
    for folder in ("udpos.Finnish", "ru"):
        (tmp_path / folder).mkdir()
        pq.write_table(table, tmp_path / folder / "validation-00000-of-00001.parquet")
    assert resolve_targets(UDPOS, str(tmp_path), "all") == ("ca", "de", "fi", "ru")
    names = ["ca", "de", "fi", "ru"]
    for item in sources(UDPOS, root=str(tmp_path), languages=names, split="dev"):
        (row,) = item.examples(UDPOS.label_set)
        assert isinstance(row, Example)
        assert (row.language, row.tokens, row.labels) == (item.language, ("Haus",), (7,))
    with pytest.raises(ValueError, match=r"no language 'sv' in .*, there are: ca, de, ru, udpos.F"):
        resolve_targets(UDPOS, str(tmp_path), ["sv"])


def test_absa(tmp_path: Path) -> None:
    """Aspect terms without polarity, also where it changes inside one; other types are named."""
    assert ABSA.labels == ("O", "B-ASP", "I-ASP")
    assert (ABSA.metric, ABSA.source) == ("f1", "en")
    words = ["B-POS", "I-NEG", "O", "B-NEU", "B-CON", "I-CON", "B-ASP"]
    rows = "".join(f"w\t{tag}\n" for tag in words)
    write(tmp_path, f"{rows}\nw\tB-POS\nw\tB-MIX\n", "fr/test.txt")
    (item,) = sources(ABSA, root=str(tmp_path), languages=["fr"], split="test")
    good, bad = item.examples(ABSA.label_set)
    assert isinstance(good, Example)
    assert good.labels == (1, 2, 0, 1, 1, 2, 1)
    allowed = "O, B-ASP, I-ASP, B-POS, I-POS, B-NEG, I-NEG, B-NEU, I-NEU, B-CON, I-CON"
    assert bad == BadRow("fr/test.txt", 10, f"unknown tag 'B-MIX', allowed: {allowed}")
    assert item.identity()["types"] == dict.fromkeys(("POS", "NEG", "NEU", "CON"), "ASP")


def test_marc_has_stars_in_every_cut(tmp_path: Path) -> None:
    """Its files are sorted by star: a limit of the first rows would have one class."""
    marc = BENCHMARKS["marc"]
    rows = [json.dumps({"text": f"text {i}", "label": i // 40}) for i in range(200)]
    write(tmp_path, "\n".join(rows) + "\n", "de/train.jsonl")
    (item,) = sources(marc, root=str(tmp_path), languages=["de"], split="train")
    gold, text = list(item.examples(marc.label_set, 50)), list(item.examples(None, 50))
    counts = Counter(row.labels for row in gold if isinstance(row, Example))
    assert sum(counts.values()) == 50
    assert all(counts[star] >= 3 for star in range(5))
    assert [row.id for row in gold] == [row.id for row in text]  # type: ignore[union-attr]


def test_lookup() -> None:
    assert lookup("wikiann") is WIKIANN
    with pytest.raises(
        ConfigError, match=r"benchmark.name: unknown benchmark 'panx'; allowed: absa, .*wikiann, x"
    ):
        lookup("panx")


def test_targets(root: Path) -> None:
    assert resolve_targets(WIKIANN, None, "all") == WIKIANN.languages[1:]
    assert resolve_targets(WIKIANN, str(root), "all") == ("de", "sw")
    assert resolve_targets(WIKIANN, str(root), "all", source_languages=("de", "sw")) == ("en",)
    assert resolve_targets(WIKIANN, str(root), ["sw", "de"]) == ("sw", "de")
    assert resolve_targets(BENCHMARKS["toy"], None, "all") == toy.LANGUAGES[1:]
    with pytest.raises(ValueError, match=f"no language 'fr' in {root}, there are: de, en, sw"):
        resolve_targets(WIKIANN, str(root), ["fr"])
    with pytest.raises(ValueError, match="no language 'xx' in wikiann, there are: en, af, ar"):
        resolve_targets(WIKIANN, None, ["xx"])
    with pytest.raises(ValueError, match="language 'de' is listed twice in de, sw, de"):
        resolve_targets(WIKIANN, None, ["de", "sw", "de"])
    with pytest.raises(ValueError, match="has no language besides de, en, sw"):
        resolve_targets(WIKIANN, str(root), "all", source_languages=("de", "en", "sw"))
    with pytest.raises(ValueError, match=f"data folder {root}/no does not exist"):
        resolve_targets(WIKIANN, f"{root}/no", "all")


def test_sources_below_a_root(root: Path) -> None:
    found = sources(WIKIANN, root=str(root), languages=["sw", "en", "de"], split="dev")
    assert [(item.language, item.split) for item in found] == [
        (x, "dev") for x in ("sw", "en", "de")
    ]
    for item in found:
        assert isinstance(item, FileSource)
        (row,) = item.examples(WIKIANN.label_set)
        assert isinstance(row, Example)
        assert (row.tokens, row.labels) == (("Anna",), (1,))
        json.dumps(item.identity())


def test_reading_options_reach_the_files(root: Path) -> None:
    prefixed = replace(WIKIANN, scheme="iob1", strip_prefix=True, types={"HUM": "PER"})
    (item,) = sources(prefixed, root=str(root), languages=["en"], split="dev")
    assert isinstance(item, FileSource)
    assert (item.scheme, item.strip_prefix) == ("iob1", True)
    assert item.types == {"HUM": "PER"}


def test_parquet_below_a_root(tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    table = pa.table({"tokens": [["Anna"]], "ner_tags": [[1]]})
    pq.write_table(table, tmp_path / "de/validation-00000-of-00001.parquet")
    assert resolve_targets(WIKIANN, str(tmp_path), "all") == ("de",)
    (item,) = sources(WIKIANN, root=str(tmp_path), languages=["de"], split="dev")
    (row,) = item.examples(WIKIANN.label_set)
    assert isinstance(row, Example)
    assert row.labels == (1,)
    with pytest.raises(ValueError, match="no split 'train'"):
        sources(WIKIANN, root=str(tmp_path), languages=["de"], split="train")


def test_hub_sources_share_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def resolve(hub_id: str, revision: str | None) -> str:
        asked.append((hub_id, revision))
        return COMMIT

    monkeypatch.setattr(registry, "resolve_revision", resolve)
    pinned = replace(WIKIANN, revision="v1")
    found = sources(pinned, root=None, languages=["de", "sw"], split="dev")
    assert asked == [("unimelb-nlp/wikiann", "v1")]
    for item, language in zip(found, ("de", "sw"), strict=True):
        assert isinstance(item, HubSource)
        assert (item.config, item.revision) == (language, COMMIT)
        assert item.identity()["columns"] == {"tokens": "tokens", "labels": "ner_tags"}
        assert item.identity()["split"] == ["validation", "dev"]


@pytest.mark.parametrize("name", [name for name, item in BENCHMARKS.items() if item.toy])
def test_toy_sources(name: str) -> None:
    benchmark = BENCHMARKS[name]
    found = sources(
        benchmark, root=None, languages=benchmark.languages, split="dev", toy={"dev": 30}
    )
    assert [item.language for item in found] == list(toy.LANGUAGES)
    for item in found:
        rows = list(item.examples(benchmark.label_set))
        assert len(rows) == 30
        for row in rows:
            assert isinstance(row, Example)
            assert (row.tokens is not None) == (benchmark.task == "token")
            assert (row.text_pair is not None) == (benchmark.task == "pair")
        json.dumps(item.identity())


def test_faults(root: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"languages": ["sw"], "split": "train"},
            r"no split 'train' in .*/sw, there are: dev \(dev",
        ),
        ({"languages": ["xx"]}, "no language 'xx' in .*, there are: de, en, sw"),
        ({"languages": ["de", "de"]}, "language 'de' is listed twice"),
        ({"split": "validation"}, "unknown split 'validation', allowed: train, dev, test"),
        ({"toy": {"dev": 3}}, "benchmark.toy: wikiann is not generated"),
        ({"root": None}, "the hub cannot be reached"),
    ]
    for changes, message in cases:
        arguments: dict[str, Any] = {
            "root": str(root),
            "languages": ["de"],
            "split": "dev",
        } | changes
        with pytest.raises(ValueError, match=message):
            sources(WIKIANN, **arguments)
    with pytest.raises(ValueError, match=r"benchmark.root: toy is generated, remove "):
        sources(BENCHMARKS["toy"], root=str(root), languages=["mira"], split="dev")
    with pytest.raises(ValueError, match=r"toy option"):
        sources(
            BENCHMARKS["toy"], root=None, languages=[toy.LANGUAGES[0]], split="dev", toy={"x": 1}
        )
    with pytest.raises(ValueError, match=r"benchmark.root: own is on no hub, set its folder"):
        resolve_targets(replace(WIKIANN, name="own", hub_id=None), None, "all")


def test_fraction_of_bad_rows() -> None:
    bad = [BadRow("de/dev.txt", line, f"reason {line}") for line in range(1, 5)]
    bad.append(BadRow("sw/dev.txt", 7, "reason 7"))
    check_bad_fraction(bad, total=50, max_fraction=0.1)
    check_bad_fraction([], total=0, max_fraction=0)
    expected = (
        "5 of 49 rows cannot be used (10.2%, data.max_bad_fraction is 10.0%) in de/dev.txt (4), "
        "sw/dev.txt (1); the first:\n  de/dev.txt:1: reason 1\n  de/dev.txt:2: reason 2\n"
        "  de/dev.txt:3: reason 3"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        check_bad_fraction(bad, total=49, max_fraction=0.1)
    with pytest.raises(ValueError, match="1 of 1 rows cannot be used"):
        check_bad_fraction(bad[:1], total=1, max_fraction=0)
    unknown = [BadRow("test.txt", 3, "unknown tag 'B-DATE', allowed: O")]
    with pytest.raises(
        ValueError, match=r"^files.paths.sw.test: 1 of 1 .*\n.*\nfiles.labels names"
    ):
        check_bad_fraction(unknown, total=1, max_fraction=0, key="files.paths.sw.test")


def test_sample_data_through_the_registry(shared_data: Path) -> None:
    """All 39 languages of the sample with their official label set; Thai is not in it."""
    root = str(shared_data / "wikiann")
    targets = resolve_targets(WIKIANN, root, "all")
    assert set(targets) == set(WIKIANN.languages) - {"en", "th"}
    found = sources(WIKIANN, root=root, languages=targets, split="test")
    for item in found:
        rows = list(item.examples(WIKIANN.label_set, limit=50))
        assert len(rows) == 50
        assert all(isinstance(row, Example) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name"), [("udpos", "udpos"), ("absa_hotel", "absa")])
def test_all_tags_of_the_sample(shared_data: Path, folder: str, name: str) -> None:
    """Every file whole, without a bad row, with the label counts that its makers took."""
    benchmark = BENCHMARKS[name]
    files = json.loads((shared_data / "manifest.json").read_text())["files"]
    entries = [entry for entry in files if entry["path"].startswith(f"{folder}/")]
    assert len(entries) == {"udpos": 19, "absa": 12}[name]
    for entry in entries:
        _, language, file = entry["path"].split("/")
        split = file.removesuffix(".txt")
        root = str(shared_data / folder)
        (item,) = sources(benchmark, root=root, languages=[language], split=split)
        wanted, found = Counter[str](), Counter[str]()
        for tag, count in entry["labels"].items():
            wanted[tag if name == "udpos" or tag == "O" else f"{tag[:2]}ASP"] += count
        rows = 0
        for row in item.examples(benchmark.label_set):
            assert isinstance(row, Example), row
            assert isinstance(row.labels, tuple)
            found.update(benchmark.labels[label] for label in row.labels)
            rows += 1
        assert rows == entry["sentences"], entry["path"]
        assert found == wanted, entry["path"]


@pytest.mark.slow
def test_all_of_the_xnli_sample(shared_data: Path) -> None:
    """Train of English alone; 500 and 1,000 pairs in each of 15 languages, none of them bad.

    The pairs of the languages are translations of each other in the same order.
    """
    root = str(shared_data / "xnli")
    targets = resolve_targets(XNLI, root, "all")
    assert set(targets) == set(XNLI.languages) - {"en"}
    with pytest.raises(ValueError, match=r"no split 'train' in .*/de"):
        sources(XNLI, root=root, languages=["de"], split="train")
    wanted: list[tuple[Split, tuple[str, ...], int]] = [
        ("train", ("en",), 8999),
        ("dev", XNLI.languages, 500),
        ("test", XNLI.languages, 1000),
    ]
    for split, languages, count in wanted:
        gold = set()
        for item in sources(XNLI, root=root, languages=languages, split=split):
            rows = [row for row in item.examples(XNLI.label_set) if isinstance(row, Example)]
            assert len(rows) == sum(1 for _ in item.examples(None)) == count
            assert len({row.id for row in rows}) == count
            assert all(row.text and row.text_pair for row in rows)
            gold.add(tuple(row.labels for row in rows))
        assert len(gold) == 1
        assert {label for labels in gold for label in labels} == {0, 1, 2}
