"""The card of an exported model: what it is, what it learnt from, how it was chosen, how good."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.benchmark import Benchmark
from xlt_ray.report.record import Report
from xlt_ray.report.tables import metric_name, percent

PIPELINES = {
    "token": "token-classification",
    "sentence": "text-classification",
    "pair": "text-classification",
}
_TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ summary }}

| | |
|:--|:--|
| task | {{ task }} |
| labels | {{ labels }} |
| method | {{ method }} |
| encoder | {{ encoder }} |
| source languages | {{ source }} |
| target languages | {{ targets }} |
| longest input | {{ max_length }} sub-words |

## How it was made

{{ training }}

{{ chosen }} {{ labels_of_targets }}

| Text | From | Commit or SHA-256 |
|:--|:--|:--|
{{ data }}

## Scores

{{ metric }}, times 100, on the test splits{{ scored }}.

| language | support | {{ before }} | this model |
|:--|--:|--:|--:|
{{ scores }}

## Using it

{{ use }}

Licence of the data: {{ data_licence }}. Made with xlt_ray {{ version }}, torch {{ torch }} and
transformers {{ transformers }}.
"""
_STOCK = """```python
from transformers import pipeline

tag = pipeline("{task}", model="FOLDER"{more}, trust_remote_code=False)
```

Inputs are {longest} sub-words at most{cut}.
"""
DECODER = (
    ". The model looks to the left only, so a word's label is that of its last sub-word, which no "
    '"aggregation_strategy" takes; `xlt_ray.load("FOLDER").predict(...)` does'
)
"""What a card says of decoders that label words."""
_SPANS = """This is no stock model: its head classifies spans of words, and `transformers` loads the
encoder alone, with a head at random. It labels text with `pip install xlt-ray`:

```python
import xlt_ray

for span in xlt_ray.load("FOLDER").predict("Text in any of the languages.").spans:
    print(span.text, span.label, span.start, span.end, span.confidence)
```

`xlt-ray export --set export.distil=true` makes a stock tagger of it.
"""


def sources_in(texts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Rows of the table of data: what each text was read from.

    Args:
        texts: Identities of the sources by title of the text, as `Source.identity` gives them.
    """
    rows = []
    for title, sources in texts.items():
        for source in sources:
            while "source" in source:  # rows that were drawn from another source
                source = source["source"]
            if "hub_id" in source:
                place = f"{source['hub_id']}, {source['config']}"
                rows.append(f"| {title} | {place} | `{source['revision']}` |")
            elif "files" in source or "sha256" in source:
                for file in source.get("files") or [source]:
                    rows.append(f"| {title} | {file['name']} | `{file['sha256'][:16]}` |")
            else:
                rows.append(f"| {title} | {source.get('kind', 'generated')} | |")
    return rows


def card(
    config: RunConfig[Any],
    benchmark: Benchmark,
    report: Report,
    record: Mapping[str, Any],
    texts: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    encoder: Mapping[str, Any],
    licence: str | None,
) -> str:
    """The card as Markdown with its metadata.

    Args:
        config: Configuration of the run.
        benchmark: Its benchmark.
        report: Its report.
        record: What the folder says of where the model comes from.
        texts: What the run's texts were read from, by title.
        encoder: What the store knows of the encoder: its origin and perhaps its revision.
        licence: Licence of the model; None: not stated.
    """
    task = benchmark.task
    distilled = record.get("distilled")
    own = {name: found[report.metric] for name, found in report.final.items()}
    final = distilled["scores"] if distilled else own
    if record.get("language"):
        final = {name: value for name, value in final.items() if name == record["language"]}
    targets = [record["language"]] if record.get("language") else report.targets
    languages = list(dict.fromkeys([*report.source, *targets]))
    is_spans = record.get("spans", False)
    name = f"{record['run']}{'-' + record['language'] if record.get('language') else ''}"
    results = [
        EvalResult(
            task_type=PIPELINES[task],
            dataset_type=benchmark.hub_id or benchmark.name,
            dataset_name=benchmark.name,
            dataset_config=language,
            dataset_split="test",
            metric_type=report.metric,
            metric_value=round(value, 4),
        )
        for language, value in final.items()
    ]
    data = ModelCardData(
        model_name=name,
        language=[code for code in languages if 2 <= len(code) <= 3],
        license=licence,
        base_model=config.backbone if encoder.get("revision") else None,  # others are no id
        library_name="xlt_ray" if is_spans else "transformers",
        pipeline_tag=None if is_spans else PIPELINES[task],
        datasets=[benchmark.hub_id] if benchmark.hub_id and config.benchmark.root is None else None,
        metrics=[report.metric],
        tags=["cross-lingual", "self-training", report.method],
        eval_results=results or None,
    )
    before = {n: x[report.metric] for n, x in report.zero_shot.items()}
    support = {n: x.get("support", "") for n, x in report.final.items()}
    rows = [
        f"| {language} | {support.get(language, '')} | {percent(before.get(language))} | "
        f"{percent(value)} |"
        for language, value in final.items()
    ]
    revision = encoder.get("revision")
    longest = config.train.max_length
    more = f", truncation=True, max_length={longest}"
    cut = ", longer ones are cut"
    if task == "token":
        more, cut = ', aggregation_strategy="first"', "; cut longer sentences before"
    if task == "token" and record.get("causal"):
        more, cut = "", cut + DECODER
    found = ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        name=name,
        summary=(
            f"{report.method} from {', '.join(report.source)} to {', '.join(report.targets)} on "
            f"{benchmark.name}."
        ),
        task=task,
        labels=", ".join(benchmark.label_set.entity_types or benchmark.labels),
        method=report.method,
        encoder=encoder.get("origin", config.backbone) + (f" at `{revision}`" if revision else ""),
        source=", ".join(report.source),
        targets=", ".join(report.targets),
        max_length=config.train.max_length,
        training=_training(report, distilled),
        metric=metric_name(report.metric),
        chosen=_chosen(config, report),
        before=report.before,
        labels_of_targets=_labels_of_targets(config, report),
        data="\n".join(sources_in(texts)),
        scored=_scored(config, report, distilled) if rows else "; there were none",
        scores="\n".join(rows) or "| - | - | - | - |",
        use=_SPANS
        if is_spans
        else _STOCK.format(task=PIPELINES[task], more=more, longest=longest, cut=cut),
        version=report.versions.get("xlt_ray", ""),
        torch=report.versions.get("torch", ""),
        transformers=report.versions.get("transformers", ""),
        data_licence=benchmark.licence,
    )
    return str(found)


def _chosen(config: RunConfig[Any], report: Report) -> str:
    """How the model was chosen among those that were trained."""
    on_targets = config.benchmark.select_on == "target_dev"
    dev = ", ".join(report.targets if on_targets else config.benchmark.dev or report.source)
    by_dev = f"by {metric_name(report.metric)} on labelled text of {dev}"
    if report.chosen_by is None:
        return f"It was chosen {by_dev}."
    return f"It was chosen {report.chosen_by}; the epoch within a training, {by_dev}."


def _labels_of_targets(config: RunConfig[Any], report: Report) -> str:
    """Which labels of target languages went into the model."""
    learned = [f"{rows} rows of {name}" for name, rows in report.few.items()]
    learned += [f"those by {name}" for name in report.labellers]
    words = "Labels of target languages were not used."
    if learned:
        words = f"Labels of target languages that it learned from: {', '.join(learned)}."
    elif report.target_dev or config.benchmark.select_on == "target_dev":
        words = "It learned from no labels of target languages."
    if report.target_dev and config.benchmark.select_on != "target_dev":
        names = ", ".join(report.target_dev)
        words += f" What it started from was chosen on labelled dev text of {names}."
    return words


def _scored(config: RunConfig[Any], report: Report, distilled: Mapping[str, Any] | None) -> str:
    """What has to be said where the run scored more than the model that is exported."""
    predict = getattr(config.method, "predict", "theta")
    if distilled or predict == "theta" or (predict == "auto" and len(report.source) < 2):
        return ""
    return (
        ". The run labelled them with this model and the source models together; this model alone "
        "may label otherwise"
    )


def _training(report: Report, distilled: Mapping[str, Any] | None) -> str:
    words = f"Seed {report.config['seed']}."
    if (report.config.get("translation") or {}).get("train"):
        words += " It learned from source gold in translation, too, with its labels carried over."
    if report.rounds:
        chosen = sum(item.total for item in report.rounds)
        words += f" {len(report.rounds)} rounds of self-training with {chosen:,} selected rows."
    if distilled:
        words += (
            f" Distilled: a tagger of words learnt from what the model of spans says of the "
            f"unlabelled text, {distilled['epochs']} epochs at {distilled['lr']:g}."
        )
    return words
