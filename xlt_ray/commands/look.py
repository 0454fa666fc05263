"""Pages with sentences of a finished run: what its models, its rounds and gold say of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xlt_ray.commands.run_texts import RunTexts, text_of
from xlt_ray.commands.trained_models import Finished, Labellers, models_of_run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.rows import Text
from xlt_ray.labels import LabelSet
from xlt_ray.report.look import TEST, UNLABELLED, Counts, Row, Said, look_index, look_page
from xlt_ray.report.record import Report
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

FOLDER = "look"
"""In the folder of a run."""


def write_pages(store: Store, report: Report, folder: RunFolder, count: int) -> str:
    """Write a page for each target, and one with links to them.

    Args:
        store: The store of the run.
        report: What the run has reported.
        folder: Its folder.
        count: Rows of test text, and of unlabelled text, of each language.

    Returns:
        Where the page with the links is.

    Raises:
        ConfigError: the models or the text cannot be shown, or are not in the store any more.
    """
    if (report.config.get("translation") or {}).get("replace"):
        raise ConfigError(f"run {report.run!r} reads its targets in translation, which has no page")
    texts = RunTexts(store, folder)
    pages, counted = dict[str, list[Row]](), list[Counts]()
    labellers, token, bio = Labellers(), True, True
    for language in report.targets:
        before, after = models_of_run(store, report.run, language)
        made = _Language(language, texts, before, after, labellers)
        rows = [row for part in (TEST, UNLABELLED) for row in made.rows(part, count)]
        if rows:
            pages[language] = rows
            counted.append(Counts.of(language, rows))
        token, bio = after.task == "token", LabelSet(after.labels).is_bio  # of all alike
    if not pages:
        raise ConfigError(f"the store has no text of run {report.run!r} any more; run it again")
    for language, rows in pages.items():
        own = {"token": token, "bio": bio, "before": report.before}
        page = look_page(report.run, language, list(pages), rows, **own)
        folder.write(f"{FOLDER}/{language}.html", page.encode())
    folder.write(f"{FOLDER}/index.html", look_index(report.run, counted, report.before).encode())
    return f"{folder.path}/{FOLDER}/index.html"


@dataclass(frozen=True)
class _Language:
    """A target: its text, and what labels it."""

    name: str
    texts: RunTexts
    before: Finished
    after: Finished
    labellers: Labellers

    def rows(self, part: str, count: int) -> list[Row]:
        """Some rows of its test text or of its unlabelled text; none where it has none."""
        table = self.texts.rows(part, self.name, count)
        if table is None:
            return []
        texts = [text_of(row) for row in table.to_pylist()]
        before, after = (self._said(finished, texts) for finished in (self.before, self.after))
        names, keys = self.after.labels, table["id"]
        gold = self.texts.gold(self.name, keys, names) if part == TEST else {}
        rounds = self.texts.rounds(keys, names) if part == UNLABELLED else {}
        ids = table["id"].to_pylist()
        return [
            Row(part, text.tokens or text.parts, then, now, gold.get(id), rounds.get(id, {}))
            for id, text, then, now in zip(ids, texts, before, after, strict=True)
        ]

    def _said(self, finished: Finished, texts: Sequence[Text]) -> Iterator[Said]:
        for found in self.labellers.of(finished).label_all(texts):
            if found.label is None:
                yield Said(found.labels, found.confidences)
            else:
                yield Said((found.label,), (found.confidence,))
