"""Downloads from a server on this machine: good, corrupt, truncated, absent, forbidden."""

import dataclasses
import gc
import hashlib
import socket
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lvmlab.datasets import catalogue, load, where

CONTENT = b"the first sentence\nthe second one\n" * 50


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT as the server's `how` attribute says."""

    def do_GET(self):
        self.server.requests.append(self.path)
        how = self.server.how
        self.send_response(404 if how == "missing" else 200)
        body = {"corrupt": CONTENT.replace(b"first", b"fifth"), "missing": b""}.get(how, CONTENT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "truncated" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.how, server.requests = "good", []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    gc.freeze()  # so that collecting afterwards looks at what the test made alone
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    with warnings.catch_warnings():  # a failed request keeps its socket until it is collected
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.unfreeze()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder that downloads may go to."""
    monkeypatch.delenv("LVMLAB_DATA", raising=False)
    monkeypatch.delenv("LVMLAB_OFFLINE", raising=False)
    monkeypatch.setattr(where, "data_folder", lambda: tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def address(monkeypatch):
    """Makes the catalogue expect CONTENT as a split of ptb at the address of a port."""

    def point(port, checksum=None):
        row = catalogue.source("ptb")
        files = tuple(
            dataclasses.replace(
                file,
                url=f"http://127.0.0.1:{port}/{file.name}",
                bytes=len(CONTENT),
                checksum=checksum or f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
            )
            for file in row.originals
        )
        monkeypatch.setattr(catalogue, "SOURCES", (dataclasses.replace(row, originals=files),))

    return point


def test_a_download_is_announced_checked_and_kept(server, data, address, capsys):
    address(server.server_port)
    first = load("ptb", "validation")
    assert first.texts[:2] == ("the first sentence", "the second one")
    assert server.requests == ["/ptb.valid.txt"]  # only what the split needs
    said = capsys.readouterr().err
    for word in ("Penn Treebank", "0.0 MB", "127.0.0.1", "NO open licence", str(data)):
        assert word in said
    assert [path.name for path in (data / "ptb").iterdir()] == ["ptb.valid.txt"]
    assert load("ptb", "validation").texts == first.texts
    assert len(server.requests) == 1
    assert capsys.readouterr().err == ""


def test_an_md5_sum_will_do(server, data, address):
    address(server.server_port, f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    assert len(load("ptb", "test")) == 100


@pytest.mark.parametrize("how", ["corrupt", "truncated", "missing"])
def test_a_failed_download_leaves_nothing_behind(server, data, address, how):
    address(server.server_port)
    server.how = how
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        load("ptb")
    assert f"http://127.0.0.1:{server.server_port}/ptb.train.txt" in str(caught.value)
    assert not (data / "ptb").exists()
    server.how = "good"
    assert len(load("ptb")) == 100


def test_a_failed_download_leaves_what_was_there(server, data, address):
    address(server.server_port)
    load("ptb", "test")
    server.how = "corrupt"
    with pytest.raises(ValueError, match="could not be downloaded"):
        load("ptb")
    assert [path.name for path in (data / "ptb").iterdir()] == ["ptb.test.txt"]


def test_a_server_that_is_down_is_named(data, address):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address(closed.getsockname()[1])
    with pytest.raises(ValueError, match="could not be downloaded from http://127"):
        load("ptb")
    assert not (data / "ptb").exists()


@pytest.mark.parametrize("forbid", ["argument", "variable"])
def test_a_download_can_be_forbidden(server, data, address, monkeypatch, forbid):
    address(server.server_port)
    if forbid == "variable":
        monkeypatch.setenv("LVMLAB_OFFLINE", "1")
    with pytest.raises(ValueError, match="downloads are switched off") as caught:
        load("ptb", download=forbid == "variable")
    message = str(caught.value)
    for word in ("train.txt.gz or ptb.train.txt", str(data / "ptb"), "LVMLAB_DATA", "0.0 MB"):
        assert word in message
    assert server.requests == []
    assert not data.exists()


def test_every_original_has_an_address_and_a_checksum():
    for source in catalogue.SOURCES:
        for file in source.originals:
            kind, sum_ = file.checksum.split(":")
            assert file.url.startswith("http") and file.url.endswith(file.name)
            assert len(bytes.fromhex(sum_)) == {"sha256": 32, "md5": 16}[kind]
            assert file.bytes is not None or source.name == "yahoo_answers"
            assert file.checksum.split(":")[1] in (
                where.Path(where.__file__).parents[2] / "data" / "README.md"
            ).read_text(encoding="utf-8")
