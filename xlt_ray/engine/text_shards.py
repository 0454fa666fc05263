"""The shards of a text artifact: row group after row group, over its files in order.

Shard n is row group n. Whatever is made of the text has a file for each shard, so that rows that
belong together are found again by the name of their file.
"""

import re
from dataclasses import dataclass

import pyarrow as pa

from xlt_ray.store.artifacts import Artifact

_FILE = re.compile(r"text-(.+?)(\.part-\d{6})?\.parquet")


@dataclass(frozen=True)
class TextShard:
    """One shard of a text artifact.

    Attributes:
        number: Its number among all shards, from 0.
        language: Language of its rows.
        part: Its number among those of the language, from 0.
        file: File that it is in.
        group: Row group of the file.
        size: Bytes of its columns, encoded.
    """

    number: int
    language: str
    part: int
    file: str
    group: int
    size: int

    @property
    def name(self) -> str:
        """File with what is said of its rows: tokens, or an annotation."""
        return f"part-{self.number:06d}.parquet"

    @property
    def text_name(self) -> str:
        """File with its rows in translation."""
        return f"text-{self.language}.part-{self.part:06d}.parquet"

    def rows(self, text: Artifact) -> pa.Table:
        """Its rows."""
        with text.parquet(self.file) as found:
            return found.read_row_group(self.group, use_threads=False)


def shards_of(text: Artifact) -> list[TextShard]:
    """All shards of a text artifact, in order."""
    shards, parts = list[TextShard](), dict[str, int]()
    for file in text.names:
        match = _FILE.fullmatch(file)
        if match is None:
            continue
        with text.parquet(file) as opened:
            found = opened.metadata
        for group in range(found.num_row_groups):
            language, size = match[1], found.row_group(group).total_byte_size
            part = parts[language] = parts.get(language, -1) + 1
            shards.append(TextShard(len(shards), language, part, file, group, size))
    return shards
