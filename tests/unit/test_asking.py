"""Labellers that are called: retries, quarantine, the cache, and a server that often fails."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.labellers import LabellerConfig
from xlt_ray.data.quarantine import lost_rows
from xlt_ray.data.readers.rows import RowError
from xlt_ray.engine.answers import Answers, key_of
from xlt_ray.engine.asking import ENOUGH, AskTask, labeller_of, run_ask
from xlt_ray.engine.chat import VARIABLE, Chat, answer_in
from xlt_ray.engine.pool import Pool
from xlt_ray.labels import LabelSet
from xlt_ray.run.labeller_code import code_of
from xlt_ray.store.artifacts import Artifact, Store

LABELS = LabelSet(("O", "B-X", "I-X"))
HERE = Pool(0, 0, 1, 0.0)
N = -100
RULES = '''
class Rules:
    """Says X of every word with a capital letter, and writes down what it was asked."""

    def __init__(self, labels, task, log, trouble=None):
        assert labels == ("O", "B-X", "I-X") and task == "token"
        self.log, self.trouble = log, trouble or {}

    def __call__(self, texts):
        for text in texts:
            with open(self.log, "a") as file:
                file.write(" ".join(text["tokens"]) + "\\n")
            what = self.trouble.get(text["tokens"][0])
            if what == "fails":
                raise OSError("no luck with https://me:SECRET@host/x")
            if what == "hangs":
                import time

                time.sleep(30)
            yield {"labels": ["B-Z"]} if what == "nonsense" else None if what == "abstains" else [
                "B-X" if word[0].isupper() else "O" for word in text["tokens"]
            ]
'''
WORDS = [["in", "Ulm"], ["Ann", "rests"], ["odd", "One"], ["in", "Ulm"], ["no"]]
WANTED = [[0, 1], [1, 0], [0, 1], [0, 1], [0]]


def text_of(store: Store) -> Artifact:
    """Two shards of one language, and a row of another."""
    attempt = store.attempt("text", "words")
    for language, rows in (("xx", WORDS), ("yy", [["Rio"]])):
        names = [f"{language}{number}" for number in range(len(rows))]
        table = pa.table({"id": names, "language": [language] * len(rows), "tokens": rows})
        with attempt.stream(f"text-{language}.parquet") as sink:
            pa.parquet.write_table(table, sink, row_group_size=3)
    return store.commit(attempt, {"info": {"rows": len(WORDS) + 1}, "seconds": 0.0})


def task_of(folder: Path, name: str = "asked", **changes: Any) -> AskTask:
    store = Store(str(folder / "store"))
    text = store.find("text", "words") or text_of(store)
    source = changes.pop("source", RULES)
    (folder / "rules.py").write_text(source)
    found = code_of("labellers.r.call", f"{folder / 'rules.py'}:Rules")
    args = {"log": str(folder / "log"), **changes.pop("args", {})}
    task = AskTask(
        text=text, languages=("xx",), task="token", labels=LABELS, name="r", call=found.call,
        code=found.digest, args=args, version="", module=found.module, source=found.source,
        batch_size=2, timeout=10.0, retries=2, wait=0.0, max_bad_fraction=0.5,
    )  # fmt: skip
    return replace(task, attempt=store.attempt("annotation", name), **changes)


def done(task: AskTask) -> tuple[dict[str, Any], list[list[int]], Artifact]:
    facts = run_ask(task, HERE, limit=9)
    assert task.attempt is not None
    made = Store(task.text.root).commit(task.attempt, {"info": {}, "seconds": 0.0})
    labels = made.table(["labels"])["labels"].to_pylist()
    return facts, labels, made


def log(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_every_text_is_asked_about_once(tmp_path: Path) -> None:
    """Also one that is in two shards, and in another run with the same labeller."""
    facts, labels, made = done(task_of(tmp_path))
    assert labels == [*WANTED, [N]]
    assert facts == {"rows": 6, "voted": 5, "abstained": 0, "quarantined": 0}
    assert sorted(log(tmp_path)) == sorted({" ".join(words) for words in WORDS})
    again, same, _ = done(task_of(tmp_path, "again", batch_size=3))
    assert (again, same) == (facts, labels)
    assert len(log(tmp_path)) == 4, "nothing is asked twice"
    commented = RULES.replace("    def __call__", "    # a comment\n    def __call__")
    done(task_of(tmp_path, "commented", source=commented))
    assert len(log(tmp_path)) == 4, "a comment is no other code"
    done(task_of(tmp_path, "later", version="2"))
    assert len(log(tmp_path)) == 8, "another version is another labeller"
    folders = sorted((tmp_path / "store/answers").glob("*/labeller.json"))
    told = [json.loads(path.read_text()) for path in folders]
    assert {(one["call"], one["version"]) for one in told} == {("Rules", ""), ("Rules", "2")}
    assert made.table(["probs"])["probs"].to_pylist()[0] == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("what", "asked", "reason"),
    [
        ("fails", 3, "OSError: no luck with https://***@host/x"),
        ("nonsense", 3, "nonsense: RowError: labels ['B-Z']: one for each of 2 words is needed"),
        ("abstains", 1, None),
    ],
)
def test_what_goes_on_failing_is_quarantined(
    what: str, asked: int, reason: str | None, tmp_path: Path
) -> None:
    """In = out + quarantined; the row stays one of the text, for other labellers."""
    task = task_of(tmp_path, args={"trouble": {"odd": what}})
    facts, labels, made = done(task)
    assert labels == [*WANTED[:2], [N, N], *WANTED[3:], [N]]
    lost = reason is not None
    assert facts == {"rows": 6, "voted": 4, "abstained": 1 - lost, "quarantined": int(lost)}
    assert log(tmp_path).count("odd One") == asked
    assert log(tmp_path).count("Ann rests") == 1
    lines = made.read("quarantine-r.jsonl").decode().splitlines()
    if lost:
        (line,) = map(json.loads, lines)
        assert (line["row"], line["language"], line["line"]) == ("xx2", "xx", 3)
        assert line["reason"] == reason
    assert lost_rows(made) == []


def test_a_call_that_hangs_is_left(tmp_path: Path) -> None:
    began = time.monotonic()
    task = task_of(tmp_path, args={"trouble": {"odd": "hangs"}}, timeout=0.3, retries=1)
    facts, labels, made = done(task)
    assert time.monotonic() - began < 25, "it hangs for half a minute"
    assert facts["quarantined"] == 1
    assert labels[2] == [N, N]
    assert "no answer within 0.3 seconds" in made.read("quarantine-r.jsonl").decode()


def test_too_many_without_an_answer_end_it_and_are_asked_again(tmp_path: Path) -> None:
    trouble = {"trouble": {"odd": "fails", "Ann": "nonsense"}}
    task = task_of(tmp_path, args=trouble, max_bad_fraction=0.2, retries=0)
    with pytest.raises(RuntimeError, match=r"labellers\.r: 2 of 5 texts have no answer .40\.0%"):
        run_ask(task, HERE, limit=9)
    before = len(log(tmp_path))
    store = Store(str(tmp_path / "store"))
    attempt = store.attempt("annotation", "asked")
    assert store.adopt(attempt) == 0, "nothing hides the texts that have no answer"
    facts, _, _ = done(replace(task, attempt=attempt, max_bad_fraction=0.5))
    assert facts["quarantined"] == 2
    assert log(tmp_path)[before:] == ["odd One"] or sorted(log(tmp_path)[before:]) == [
        "Ann rests", "odd One",
    ]  # fmt: skip


def test_an_interrupt_loses_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said before it is in the cache; what was under way is asked again."""
    kept = Answers.put
    puts = list[str]()

    def put(self: Answers, key: str, answer: Any) -> None:
        if len(puts) == 2:
            raise KeyboardInterrupt
        puts.append(key)
        kept(self, key, answer)

    with monkeypatch.context() as patched:
        patched.setattr(Answers, "put", put)
        with pytest.raises(KeyboardInterrupt):
            run_ask(task_of(tmp_path), HERE, limit=9)
    first = log(tmp_path)[:2]
    facts, labels, _ = done(task_of(tmp_path, "again"))
    assert facts["voted"] == 5
    assert labels == [*WANTED, [N]]
    assert [log(tmp_path).count(text) for text in first] == [1, 1]


def test_a_labeller_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    attempt = store.attempt("text", "words")
    rows = [[f"w{number}"] for number in range(ENOUGH)]
    table = {"id": [x[0] for x in rows], "language": ["xx"] * ENOUGH, "tokens": rows}
    attempt.write_table("text-xx.parquet", pa.table(table))
    store.commit(attempt, {"info": {"rows": ENOUGH}, "seconds": 0.0})
    trouble = dict.fromkeys((x[0] for x in rows), "fails")
    task = task_of(tmp_path, args={"trouble": trouble}, retries=0)
    with pytest.raises(RuntimeError, match="has answered none of 8 texts; the last reason: OSErr"):
        run_ask(task, HERE, limit=9)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RULES.replace("class Rules", "class Other"), "has no class Rules, there are: Other"),
        ("class Rules(:", "cannot be read"),
        (RULES.replace(", log,", ", logs,"), r"labellers\.r\.args: Rules: .*'log'"),
        (RULES.replace("for text in texts:", "return 3"), "cannot be read"),
    ],
)
def test_code_that_cannot_be_called_is_said(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run_ask(task_of(tmp_path, source=source), HERE, limit=9)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 3", "int, needed: an answer for each text"),
        ("return ['O']", "1 answers to 2 texts"),
        ("return [['O', 'O'], {'tag': 1}]", "fields tag; allowed: confidence, entities, label"),
        ("return iter([['O', 'O']] * 5)", "more than 2 answers"),
        ("return iter([])", "the call ended before it came to this text"),
    ],
)
def test_an_answer_of_another_form_is_nonsense(body: str, reason: str, tmp_path: Path) -> None:
    code = f"class Rules:\n def __init__(self, **options): pass\n def __call__(self, texts): {body}"
    task = task_of(tmp_path, source=code, retries=0, max_bad_fraction=1.0)
    _, _, made = done(task)
    assert reason in made.read("quarantine-r.jsonl").decode()


def test_forms_of_an_answer(tmp_path: Path) -> None:
    answers = {
        "in": {"entities": [{"start": 3, "end": 6, "label": "X"}]},
        "Ann": {"labels": ["B-X", "O"], "confidence": 0.8},
        "odd": {"probs": [[0.5, 0.25, 0.25], [0.25, 0.75, 0.0]]},
        "no": {"labels": ["O"], "confidence": [0.5]},
    }
    code = (
        f"class Rules:\n def __init__(self, **options): pass\n def __call__(self, texts): "
        f"return [{answers!r}[text['tokens'][0]] for text in texts]"
    )
    _, labels, made = done(task_of(tmp_path, source=code))
    assert labels == [*WANTED, [N]]
    probs = made.table(["probs"])["probs"].to_pylist()
    assert probs[1][0] == pytest.approx([0.1, 0.8, 0.1], abs=1e-3)
    assert probs[2][1] == pytest.approx([0.25, 0.75, 0], abs=1e-3)


def test_a_module_is_named_without_being_imported() -> None:
    found = code_of("k", "xlt_ray.engine.chat:Chat")
    assert (found.call, found.module, found.source) == ("Chat", "xlt_ray.engine.chat", None)
    with pytest.raises(ConfigError, match=r"no module 'nowhere\.at_all'"):
        code_of("k", "nowhere.at_all:X")
    with pytest.raises(ConfigError, match=r"needed: MODULE:CLASS, FILE\.py:CLASS or openai"):
        code_of("k", "Rules")
    assert code_of("k", "openai").call == "Chat"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "file or call: one of them"),
        ({"file": "a.jsonl", "call": "a.py:A"}, "file or call: one of them"),
        ({"call": "a.py:A", "each": True}, "column and each are of a file"),
        ({"file": "a.jsonl", "args": {"n": 1}}, "args and version are of what is called"),
        ({"call": "a.py:A", "args": {"api_key": "x"}}, r"args\.api_key: would end up in reports"),
        ({"call": "a.py:A", "args": {"x": ["http://me:pw@host"]}}, r"args\.x: credentials"),
        ({"call": "a.py:A", "args": {"my_token": "x"}}, "name a file with it as my_token_file"),
    ],
)
def test_sections_that_say_two_things(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabellerConfig.model_validate(keys)
    good = {"call": "a.py:A", "args": {"tokenizer": "x", "max_tokens": 3, "token_file": "f"}}
    assert LabellerConfig.model_validate(good).timeout == 120


class Stub(ThreadingHTTPServer):
    """Answers right, but that each text has its own trouble the first times it is asked about."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.trouble: dict[str, list[Any]] = {}
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        stub = self.server
        assert isinstance(stub, Stub)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][1]["content"]
        with stub.lock:
            stub.requests.append((self.path, body, dict(self.headers)))
            waiting = stub.trouble.get(text, [])
            what = waiting.pop(0) if waiting else None
        if isinstance(what, int):
            self.send_response(what)
            if what == 302:
                self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            return
        if what == "slow":
            time.sleep(1.0)
        if what == "close":
            return
        entities = [
            {"text": word, "type": "X"} for word in text.split() if word[0].isupper()
        ]  # fmt: skip
        said = json.dumps({"entities": entities}) if what in (None, "slow") else what
        reply = json.dumps({"choices": [{"message": {"content": said}}]})
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # whoever asked may be gone
            self.wfile.write((what if what == "{" else reply).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def of_server(folder: Path, stub: Stub, name: str = "asked", **changes: Any) -> AskTask:
    found = code_of("k", "openai")
    changes = {"timeout": 0.5, "retries": 2, **changes}
    task = task_of(folder, name)
    args = {"url": stub.url, "model": "m", **changes.pop("args", {})}
    return replace(task, call=found.call, code=found.digest, module=found.module, source=None,
                   args=args, **changes)  # fmt: skip


def test_a_server_that_often_fails(
    tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures, hung connections, and nonsense are asked again; what has one answer is not."""
    monkeypatch.setenv(VARIABLE, "a-token")
    absent = '{"entities": [{"text": "Bonn", "type": "X"}]}'
    stub.trouble = {
        "in Ulm": [503, "slow"],
        "Ann rests": ["close", "{"],
        "odd One": ["I think so.", absent, '{"entities": [{"text": "One", "type": "Y"}]}'],
    }
    facts, labels, made = done(of_server(tmp_path, stub))
    assert labels == [*WANTED[:2], [N, N], *WANTED[3:], [N]]
    assert facts == {"rows": 6, "voted": 4, "abstained": 0, "quarantined": 1}
    (line,) = map(json.loads, made.read("quarantine-r.jsonl").decode().splitlines())
    assert line["row"] == "xx2"
    assert "RowError: entity" in line["reason"]
    times = [body["messages"][1]["content"] for _, body, _ in stub.requests]
    assert [times.count(" ".join(words)) for words in WORDS] == [3, 3, 3, 3, 1]
    path, body, headers = stub.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"]) == ("m", 0)
    assert headers["Authorization"] == "Bearer a-token"
    asked = len(stub.requests)
    again, same, _ = done(of_server(tmp_path, stub, "again"))
    assert again == {**facts, "voted": 5, "quarantined": 0}
    assert same == [*WANTED, [N]]
    assert len(stub.requests) == asked + 1, "what had no answer is asked once more"


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_ends_it(status: int, tmp_path: Path, stub: Stub) -> None:
    stub.trouble = {" ".join(words): [status] * 9 for words in WORDS}
    with pytest.raises(ConfigError, match=f"the server refuses requests: {status}"):
        run_ask(of_server(tmp_path, stub), HERE, limit=9)


def test_redirects_are_not_followed(tmp_path: Path, stub: Stub) -> None:
    stub.trouble = {"no": [302] * 9}
    _, _, made = done(of_server(tmp_path, stub, retries=0))
    assert "the server says 302" in made.read("quarantine-r.jsonl").decode()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"url": "http://example.org/v1"}, r"args\.url: example\.org is another machine"),
        ({"url": "ftp://127.0.0.1"}, r"args\.url: .* needed: http://HOST:PORT/v1"),
        ({"url": "http://me:x@127.0.0.1/v1"}, r"args\.url: no user and password"),
        ({"token_file": "none"}, r"args\.token_file: none: No such file"),
        ({"beams": 3}, r"args: Chat: .*'beams'"),
    ],
)
def test_servers_that_are_not_asked(args: dict[str, Any], message: str, tmp_path: Path) -> None:
    task = replace(task_of(tmp_path), source=None, module="xlt_ray.engine.chat", call="Chat")
    with pytest.raises(ConfigError, match=f"labellers.r.{message}"):
        labeller_of(replace(task, args={"model": "m", **args}))


def test_a_token_goes_nowhere_in_the_clear(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token\n")
    path.chmod(0o644)
    own: dict[str, Any] = {"labels": LABELS.names, "task": "token", "model": "m"}
    with pytest.raises(ConfigError, match="others can read the token of the server of a labeller"):
        Chat(**own, token_file=str(path))
    path.chmod(0o600)
    assert Chat(**own, token_file=str(path)).token == "a-token"
    with pytest.raises(ConfigError, match=r"the token would travel unencrypted to example\.org"):
        Chat(**own, token_file=str(path), url="http://example.org/v1", remote=True)
    Chat(**own, token_file=str(path), url="https://example.org/v1", remote=True)
    path.write_text("a\x00b")
    with pytest.raises(ConfigError, match="no token that a header can hold"):
        Chat(**own, token_file=str(path))


def test_what_a_model_says_is_read_strictly() -> None:
    text = {"tokens": ["Ulm", "and", "Ulm"]}
    said = '{"entities": [{"text": "Ulm", "type": "X"}, {"text": "Ulm", "type": "X"}]}'
    found = answer_in(said, text, "token", LABELS)
    assert [(x["start"], x["end"]) for x in found["entities"]] == [(0, 3), (8, 11)]
    for wrong in ("[]", "no", '{"entities": 3}', '{"entities": [], "more": 1}', "[" * 9999):
        with pytest.raises(RowError):
            answer_in(wrong, text, "token", LABELS)
    classes = LabelSet(("no", "yes"))
    assert answer_in('{"label": "yes"}', {"text": "t"}, "sentence", classes) == {"label": "yes"}
    chat = Chat(labels=classes.names, task="sentence", model="m", guide="Yes is for good films.")
    asked = chat.request({"text": "t", "language": "xx"})["messages"]
    assert "one of the classes no, yes" in asked[0]["content"]
    assert asked[0]["content"].endswith("Yes is for good films.")
    assert asked[1]["content"] == "t"
    pair = Chat(labels=classes.names, task="pair", model="m")
    assert json.loads(pair.request({"text": "a", "text_pair": "b"})["messages"][1]["content"]) == {
        "first": "a", "second": "b",
    }  # fmt: skip
    tags = Chat(labels=("NOUN", "VERB"), task="token", model="m")
    assert json.loads(tags.request({"tokens": ["a", "b"]})["messages"][1]["content"]) == ["a", "b"]


def test_keys_of_texts() -> None:
    one = {"language": "xx", "tokens": ["a", "b"]}
    assert key_of(one) == key_of(dict(reversed(one.items())))
    assert key_of(one) != key_of({**one, "language": "yy"})
    assert key_of(one) != key_of({**one, "tokens": ["a b"]})
