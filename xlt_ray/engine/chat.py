"""A labeller behind an OpenAI-compatible server: a model of one's own, by default on this machine.

Each text is a request of its own for a JSON object: entities with their words, a label per word,
or the class of the text. What is no such object, or speaks of entities that the text does not have,
is nonsense, which `xlt_ray.engine.asking` asks for again. Redirects are not followed and proxies
not used, so a token goes nowhere but to the server that is named.
"""

import http.client
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.schema import Task
from xlt_ray.engine.token_file import refuse_open
from xlt_ray.labels import LabelSet

VARIABLE = "XLT_LABELLER_TOKEN"
"""Holds the token of a server, unless a file does."""
PROTOCOL = "1"
"""Version of what is asked and how it is read; with another one answers are asked for anew."""
_MOST = 1 << 20
"""Bytes of an answer at most."""
_REFUSED = (400, 401, 403, 404, 405, 422)
"""Statuses of requests that no repetition mends."""

Send = Callable[[str], str]


class Chat:
    """Asks a chat model about texts."""

    times_out = True
    """Whether it keeps the limit of time by itself, for each request."""

    def __init__(
        self,
        *,
        labels: Sequence[str],
        task: Task,
        model: str,
        url: str = "http://127.0.0.1:8000/v1",
        remote: bool = False,
        token_file: str | None = None,
        guide: str = "",
        parallel: int = 4,
        max_tokens: int = 1024,
        timeout: float = 120.0,
    ):
        """Prepare to ask; nothing is sent yet.

        Args:
            labels: Names of the classes.
            task: Kind of task.
            model: What the server calls the model.
            url: Address of the server, up to the version.
            remote: Whether the server may be on another machine.
            token_file: File with the token, readable by its owner alone; absent: the variable
                XLT_LABELLER_TOKEN, if it is set.
            guide: What the model is told about the classes, in words.
            parallel: Requests at a time.
            max_tokens: Sub-words of an answer at most.
            timeout: Seconds until a request has failed.

        Raises:
            ConfigError: the address is no such one, or others can read the token.
        """
        self.labels, self.task, self.known = tuple(labels), task, LabelSet(tuple(labels))
        self.model, self.guide = model, guide
        self.parallel, self.max_tokens, self.seconds = parallel, max_tokens, timeout
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname or place.query:
            raise ConfigError(f"args.url: {url!r}, needed: http://HOST:PORT/v1, or https")
        if place.username is not None or place.password is not None:
            raise ConfigError("args.url: no user and password; a token goes into token_file")
        self.place, here = place, _is_here(place.hostname)
        if not here and not remote:
            raise ConfigError(
                f"args.url: {place.hostname} is another machine, to which all texts would be sent; "
                "set args.remote=true if that is what you want"
            )
        self.token = _token(token_file)
        if self.token is not None and not here and place.scheme != "https":
            raise ConfigError(f"args.url: the token would travel unencrypted to {place.hostname}")

    def __call__(self, texts: Sequence[dict[str, Any]]) -> Iterator[Any]:
        """The answer to each text, or the error in its place, in order."""
        with ThreadPoolExecutor(max(1, self.parallel)) as threads:
            yield from threads.map(self._answer, texts)

    def _answer(self, text: dict[str, Any]) -> Any:
        try:
            return answer_in(self._send(text), text, self.task, self.known)
        except Exception as error:
            return error

    def _send(self, text: dict[str, Any]) -> str:
        """What the model says of a text.

        Raises:
            ConfigError: the server refuses such requests.
            OSError: it cannot be reached, is too slow, or has failed.
            ValueError: its reply is none of a chat model.
        """
        place = self.place
        kind = (
            http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        )
        assert place.hostname is not None
        connection = kind(place.hostname, place.port, timeout=self.seconds)
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        body = json.dumps(self.request(text), ensure_ascii=False).encode()
        try:
            path = f"{place.path.rstrip('/')}/chat/completions"
            connection.request("POST", path, body, headers)
            with connection.getresponse() as reply:
                data = reply.read(_MOST + 1)
        except http.client.HTTPException as error:
            raise OSError(f"no reply of HTTP ({type(error).__name__})") from None
        finally:
            connection.close()
        if reply.status in _REFUSED:
            raise ConfigError(f"the server refuses requests: {reply.status} {reply.reason}")
        if reply.status != 200:
            raise OSError(f"the server says {reply.status} {reply.reason}")
        if len(data) > _MOST:
            raise ValueError(f"a reply of more than {_MOST} bytes")
        try:
            said = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ValueError("a reply without choices[0].message.content") from None
        if not isinstance(said, str):
            raise ValueError("a reply whose content is no text")
        return said

    def request(self, text: dict[str, Any]) -> dict[str, Any]:
        """What is sent about a text."""
        messages = [
            {"role": "system", "content": self.instructions()},
            {"role": "user", "content": shown(text, self.task, self.known)},
        ]
        return {
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "response_format": {"type": "json_object"},
        }

    def instructions(self) -> str:
        """What the model is to do."""
        if self.task == "token" and self.known.is_bio:
            kinds = ", ".join(self.known.entity_types)
            words = (
                f"Find all entities of the types {kinds} in the text. Answer with a JSON object "
                '{"entities": [{"text": "...", "type": "..."}]}: each entity as it stands in the '
                "text, in the order of the text, as often as it is there; an empty list if there "
                "is none."
            )
        elif self.task == "token":
            words = (
                f"Give each word one of the labels {', '.join(self.labels)}. Answer with a JSON "
                'object {"labels": ["..."]} with one label for each word of the list.'
            )
        else:
            what = "the two texts" if self.task == "pair" else "the text"
            words = (
                f"Say which one of the classes {', '.join(self.labels)} {what} belongs to. Answer "
                'with a JSON object {"label": "..."}.'
            )
        return f"{words} Nothing but the object. {self.guide}".strip()


def shown(text: dict[str, Any], task: Task, labels: LabelSet) -> str:
    """A text as the model sees it."""
    if task == "token":
        words = list(text["tokens"])
        return " ".join(words) if labels.is_bio else json.dumps(words, ensure_ascii=False)
    if task == "pair":
        pair = {"first": text["text"], "second": text["text_pair"]}
        return json.dumps(pair, ensure_ascii=False)
    return text["text"]


def answer_in(said: str, text: dict[str, Any], task: Task, labels: LabelSet) -> dict[str, Any]:
    """What a model says of a text, as an answer of a labeller.

    Args:
        said: Its words.
        text: The text.
        task: Kind of task.
        labels: The classes.

    Raises:
        RowError: it is no such JSON object, or has an entity that is not in the text.
    """
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        raise RowError(f"no JSON: {said[:80]!r}") from None
    field = "label" if task != "token" else "entities" if labels.is_bio else "labels"
    if not isinstance(found, dict) or set(found) != {field}:
        raise RowError(f"{said[:80]!r}, needed: an object with {field}")
    if field != "entities":
        return found
    whole, at, entities = shown(text, task, labels), 0, list[dict[str, Any]]()
    if not isinstance(found["entities"], list):
        raise RowError(f"entities {str(found['entities'])[:80]!r} is no list")
    for item in found["entities"]:
        if not isinstance(item, dict) or set(item) != {"text", "type"}:
            raise RowError(f"entity {str(item)[:80]!r}, needed: text and type")
        name, kind = item["text"], item["type"]
        if kind not in labels.entity_types or not isinstance(name, str) or not name.strip():
            raise RowError(f"entity {str(item)[:80]!r}, types: {', '.join(labels.entity_types)}")
        start = whole.find(name, at)
        if start < 0:
            raise RowError(f"entity {name[:80]!r} is not in the text, or not in its order")
        at = start + len(name)
        entities.append({"start": start, "end": at, "label": kind})
    return {"text": whole, "entities": entities}


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: str | None) -> str | None:
    if file is None:
        token, where = os.environ.get(VARIABLE), VARIABLE
    else:
        path, where = Path(file).expanduser(), f"args.token_file: {file}"
        try:
            refuse_open(path, "the server of a labeller")
            token = path.read_bytes().decode("ascii", "replace").strip()
        except OSError as error:
            raise ConfigError(f"{where}: {error.strerror}") from None
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise ConfigError(f"{where}: no token that a header can hold")
    return token
