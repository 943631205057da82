"""What Google's client may expect of the local Cloud Storage server, beyond the object-store port."""

import http.client
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from infra.local.gcs_server import GcsServer
from shared.gcs_store import GcsStore
from shared.objectstore import ABSENT, crc32c_base64

MIB = 1 << 20


def connect(server: GcsServer) -> Any:
    return storage.Client(project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with GcsServer(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: GcsServer) -> Iterator[Any]:
    made = connect(server)
    yield made
    made.close()


@pytest.fixture
def bucket(client: Any) -> Any:
    return client.create_bucket(f"b-{uuid4().hex}")


def call(server: GcsServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send one request as it stands, without Google's client."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


# Buckets


def test_buckets_are_made_listed_and_deleted(client: Any) -> None:
    made = client.create_bucket("b-made")
    assert made.exists()
    assert client.get_bucket("b-made").name == "b-made"
    assert "b-made" in [bucket.name for bucket in client.list_buckets()]
    assert [bucket.name for bucket in client.list_buckets(prefix="b-mad")] == ["b-made"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("b-made")
    made.blob("x").upload_from_string(b"1")
    with pytest.raises(exceptions.Conflict):
        made.delete()
    made.blob("x").delete()
    made.delete()
    assert not made.exists()
    with pytest.raises(exceptions.NotFound):
        client.get_bucket("b-made")
    with pytest.raises(exceptions.NotFound):
        made.blob("x").upload_from_string(b"1")


@pytest.mark.parametrize("name", ["..", "%2e%2e", "UPPER", "a%2fb", "..%2f..%2fetc"])
def test_no_bucket_name_leads_out_of_the_folder(server: GcsServer, name: str) -> None:
    assert call(server, "GET", f"/storage/v1/b/{name}/o")[0] == 404
    assert call(server, "POST", "/storage/v1/b", json.dumps({"name": name}).encode())[0] == 400


def test_the_root_says_ok(server: GcsServer) -> None:
    assert call(server, "GET", "/")[::2] == (200, b"ok")
    assert call(server, "GET", "/nothing/here")[0] == 404


def test_the_emulator_variable_is_honoured(server: GcsServer, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url + "/")
    GcsStore(bucket.name).put("k", b"1", if_generation_match=ABSENT)
    assert bucket.blob("k").download_as_bytes() == b"1"


# Uploads


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 9 * MIB])
@pytest.mark.parametrize("checksum", ["crc32c", "md5", "auto", None])
def test_an_upload_of_any_size_arrives(bucket: Any, size: int, checksum: str | None) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    blob = bucket.blob("x")
    blob.cache_control = "no-store"
    blob.upload_from_string(data, content_type="audio/wav", checksum=checksum)
    assert (blob.size, blob.crc32c, blob.content_type, blob.metageneration) == (size, crc32c_base64(data), "audio/wav", 1)
    assert bucket.get_blob("x").cache_control == "no-store"
    assert bucket.blob("x").download_as_bytes(checksum=checksum) == data


@pytest.mark.parametrize("data", [b"\r\n", b"--", b"\r\n--===============\r\n\r\n", b"\n--\r\n" * 3, b""])
def test_data_that_look_like_a_multipart_body_stay_whole(bucket: Any, data: bytes) -> None:
    bucket.blob("x").upload_from_string(data)
    assert bucket.blob("x").download_as_bytes() == data


def test_data_that_hold_the_boundary_itself_stay_whole(server: GcsServer, bucket: Any) -> None:
    data = b"\r\n--b--\r\n--b\r\n\r\n"
    body = b'--b\r\n\r\n{"name": "x"}\r\n--b\r\ncontent-type: text/plain\r\n\r\n%s\r\n--b--' % data
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart"
    assert call(server, "POST", path, body, Content_Type="multipart/related; boundary=b")[0] == 200
    blob = bucket.blob("x")
    assert (blob.download_as_bytes(), blob.content_type) == (data, "text/plain")


@pytest.mark.parametrize("total", [0, 3, 256 << 10, MIB, MIB + 5])
def test_a_stream_of_unknown_length_is_uploaded_in_chunks(bucket: Any, total: int) -> None:
    data = b"x" * total
    with bucket.blob("x").open("wb", chunk_size=256 << 10) as file:
        file.write(data[: total // 2])
        file.write(data[total // 2 :])
    assert bucket.blob("x").download_as_bytes() == data
    bucket.blob("y", chunk_size=256 << 10).upload_from_file(io.BytesIO(data))
    assert bucket.blob("y").download_as_bytes() == data


def test_a_resumable_upload_checks_its_precondition_at_the_start_and_at_the_end(server: GcsServer, bucket: Any) -> None:
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=resumable&ifGenerationMatch=7"
    assert call(server, "POST", path, b'{"name": "x"}')[0] == 412
    late = bucket.blob("x").open("wb", if_generation_match=0, chunk_size=256 << 10)
    late.write(b"1" * (257 << 10))
    bucket.blob("x").upload_from_string(b"winner")
    with pytest.raises(InvalidResponse, match="412"):
        late.close()
    assert bucket.blob("x").download_as_bytes() == b"winner"


def test_a_resumable_upload_bears_repeated_chunks_and_questions(server: GcsServer, bucket: Any) -> None:
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=resumable"
    status, headers, _ = call(server, "POST", path, b'{"name": "x"}', X_Upload_Content_Type="text/plain")
    assert status == 200
    at = headers["location"].removeprefix(server.url)
    assert call(server, "PUT", at, b"", Content_Range="bytes */*")[:2][0] == 308
    for _ in range(2):
        status, headers, _ = call(server, "PUT", at, b"aaaa", Content_Range="bytes 0-3/*")
        assert (status, headers["range"]) == (308, "bytes=0-3")
    status, headers, _ = call(server, "PUT", at, b"zz", Content_Range="bytes 8-9/10")
    assert (status, headers["range"]) == (308, "bytes=0-3")  # a gap is not filled with nothing
    assert call(server, "PUT", at, b"", Content_Range="bytes */10")[0] == 308
    answers = [call(server, "PUT", at, b"aabbbb", Content_Range="bytes 2-7/8") for _ in range(2)]
    answers.append(call(server, "PUT", at, b"", Content_Range="bytes */8"))
    assert {status for status, _, _ in answers} == {200}
    assert len({json.loads(body)["generation"] for _, _, body in answers}) == 1
    blob = bucket.get_blob("x")
    assert (blob.download_as_bytes(), blob.content_type) == (b"aaaabbbb", "text/plain")
    assert call(server, "PUT", at + "nothing", b"", Content_Range="bytes */8")[0] == 404
    assert call(server, "PUT", at, b"x", Content_Range="pages 1-2/3")[0] == 200  # answered already


def test_a_body_without_length_is_read_by_its_chunks(server: GcsServer, bucket: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=a%2Fx"
    connection.request("POST", path, iter([b"ab", b"c" * 5000]), {"Content-Type": "text/plain"}, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["contentType"]) == (200, "text/plain")
    connection.request("GET", "/")  # the connection stands at the next request
    assert connection.getresponse().read() == b"ok"
    connection.close()
    assert bucket.blob("a/x").download_as_bytes() == b"ab" + b"c" * 5000


def test_a_refused_upload_leaves_the_connection_usable(server: GcsServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("POST", "/upload/storage/v1/b/b-absent/o?uploadType=media&name=x", b"x" * 100_000)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (404, 404)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"ok"
    connection.close()


def test_an_upload_that_breaks_off_leaves_nothing(server: GcsServer, bucket: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("POST", f"/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=x")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"only this")
    connection.close()
    assert call(server, "GET", "/")[0] == 200
    assert not bucket.blob("x").exists()


@pytest.mark.parametrize("promise", [{"crc32c": "AAAAAA=="}, {"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}])
def test_data_that_do_not_match_their_promised_digest_are_refused(server: GcsServer, bucket: Any, promise: dict[str, str]) -> None:
    resource = json.dumps({"name": "x", **promise}).encode()
    body = b"--=b=\r\ncontent-type: application/json\r\n\r\n%s\r\n--=b=\r\ncontent-type: a/b\r\n\r\n12345\r\n--=b=--" % resource
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType="
    status, _, text = call(server, "POST", path + "multipart", body, Content_Type='multipart/related; boundary="=b="')
    assert status == 400
    assert "doesn't match" in json.loads(text)["error"]["message"]
    ((name, digest),) = promise.items()
    assert call(server, "POST", path + "media&name=x", b"12345", X_Goog_Hash=f"{name.removesuffix('Hash')}={digest}")[0] == 400
    at = call(server, "POST", path + "resumable", resource)[1]["location"].removeprefix(server.url)
    assert [call(server, "PUT", at, b"12345", Content_Range="bytes 0-4/5")[0] for _ in range(2)] == [400, 400]
    assert not bucket.blob("x").exists()


@pytest.mark.parametrize(
    "body", [b"", b"--b\r\n\r\n{}\r\n--b--", b"--b\r\n\r\n[]\r\n--b\r\n\r\n\r\n--b--", b"--b\r\n\r\n{\r\n--b\r\n\r\n\r\n--b--"]
)
def test_a_malformed_multipart_body_is_refused(server: GcsServer, bucket: Any, body: bytes) -> None:
    path = f"/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart"
    assert call(server, "POST", path, body, Content_Type="multipart/related; boundary=b")[0] == 400


# Downloads


def test_a_range_is_these_bytes_and_one_behind_the_end_is_refused(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string(b"0123456789")
    assert blob.download_as_bytes(start=1, end=3) == b"123"
    assert blob.download_as_bytes(start=7) == b"789"
    assert blob.download_as_bytes(start=-2) == b"89"
    assert blob.download_as_bytes(start=8, end=100) == b"89"
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=10)
    with bucket.blob("x").open("rb", chunk_size=4) as file:
        assert file.read(3) == b"012"
        file.seek(8)
        assert file.read() == b"89"
    bucket.blob("empty").upload_from_string(b"")
    with bucket.blob("empty").open("rb") as file:
        assert file.read() == b""


def test_a_download_in_chunks_is_whole(bucket: Any) -> None:
    data = bytes(range(256)) * 4096
    bucket.blob("x").upload_from_string(data)
    assert bucket.blob("x", chunk_size=256 << 10).download_as_bytes() == data
    target = io.BytesIO()
    bucket.blob("x").download_to_file(target, raw_download=True)
    assert target.getvalue() == data


def test_the_headers_of_a_download_describe_the_object(server: GcsServer, bucket: Any) -> None:
    blob = bucket.blob("a/x")
    blob.content_encoding, blob.storage_class = "identity", "NEARLINE"
    blob.upload_from_string(b"123", content_type="text/plain")
    other = bucket.blob("a/x")
    other.download_as_bytes()
    assert (int(other.generation), other.crc32c, other.etag) == (blob.generation, blob.crc32c, blob.etag)
    assert (other.content_type, other.content_encoding, other.storage_class) == ("text/plain", "identity", "NEARLINE")
    _, headers, body = call(server, "GET", f"/storage/v1/b/{bucket.name}/o/a%2Fx?alt=media", Range="bytes=0-0")
    assert (body, headers["content-range"], headers["x-goog-stored-content-length"]) == (b"1", "bytes 0-0/3", "3")
    assert call(server, "GET", f"/storage/v1/b/{bucket.name}/o/a%2Fx?alt=media", If_None_Match=blob.etag)[0] == 304
    with pytest.raises(exceptions.PreconditionFailed):
        other.download_as_bytes(if_etag_match="another")


def test_an_old_generation_is_not_found(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string(b"1")
    old = blob.generation
    bucket.blob("x").upload_from_string(b"2")
    stale = bucket.blob("x", generation=old)
    for read in (stale.download_as_bytes, stale.reload, stale.delete, stale.patch):
        with pytest.raises(exceptions.NotFound):
            read()
    assert bucket.blob("x").download_as_bytes() == b"2"


# Preconditions


def test_preconditions_guard_every_operation(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string(b"1")
    wrong = {"if_generation_match": blob.generation + 1, "retry": None}
    refused: list[Callable[[], Any]] = [
        lambda: blob.upload_from_string(b"2", **wrong),
        lambda: bucket.blob("x").download_as_bytes(**wrong),
        lambda: blob.reload(**wrong),
        lambda: blob.patch(**wrong),
        lambda: blob.update(**wrong),
        lambda: blob.delete(**wrong),
        lambda: blob.compose([blob], **wrong),
        lambda: bucket.copy_blob(blob, bucket, "x", **wrong),
        lambda: bucket.blob("x").rewrite(blob, **wrong),
        lambda: bucket.copy_blob(blob, bucket, "y", if_source_generation_match=1, retry=None),
        lambda: blob.reload(if_metageneration_match=2),
        lambda: bucket.blob("new").upload_from_string(b"", if_metageneration_match=1),
    ]
    for operation in refused:
        with pytest.raises(exceptions.PreconditionFailed):
            operation()
    unchanged: list[Callable[[], Any]] = [
        lambda: blob.reload(if_generation_not_match=blob.generation),
        lambda: blob.reload(if_metageneration_not_match=1),
        lambda: blob.download_as_bytes(if_generation_not_match=blob.generation),
        lambda: bucket.blob("new").upload_from_string(b"", if_generation_not_match=0),
    ]
    for operation in unchanged:
        with pytest.raises(exceptions.NotModified):
            operation()
    blob.reload(if_generation_match=blob.generation, if_generation_not_match=1, if_metageneration_match=1, if_metageneration_not_match=2)
    assert [found.name for found in bucket.list_blobs()] == ["x"]


def test_a_failed_precondition_says_so_in_its_body(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.upload_from_string(b"1")
    with pytest.raises(exceptions.PreconditionFailed) as caught:
        blob.delete(if_generation_match=1)
    assert "At least one of the pre-conditions you specified did not hold." in caught.value.message
    assert caught.value.errors[0]["reason"] == "conditionNotMet"


# Metadata


def test_metadata_is_patched_key_by_key(bucket: Any) -> None:
    blob = bucket.blob("x")
    blob.metadata = {"a": "1", "b": "2"}
    blob.upload_from_string(b"data", content_type="text/plain")
    generation = blob.generation
    blob.metadata = {"a": None, "c": "3"}
    blob.cache_control = "no-cache"
    blob.patch(if_metageneration_match=1)
    found = bucket.get_blob("x")
    assert (found.metadata, found.cache_control, found.content_type) == ({"b": "2", "c": "3"}, "no-cache", "text/plain")
    assert (found.generation, found.metageneration) == (generation, 2)
    assert found.updated > found.time_created
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=1)
    found.metadata = {"only": "this"}
    found.update()
    assert bucket.get_blob("x").metadata == {"only": "this"}
    assert bucket.blob("x").download_as_bytes() == b"data"
    with pytest.raises(exceptions.NotFound):
        bucket.blob("absent").patch()


# Listing


def test_a_listing_is_cut_into_pages(bucket: Any) -> None:
    for number in range(7):
        bucket.blob(f"k{number}").upload_from_string(b"")
    pages = bucket.list_blobs(page_size=3).pages
    assert [[blob.name for blob in page] for page in pages] == [["k0", "k1", "k2"], ["k3", "k4", "k5"], ["k6"]]
    assert [blob.name for blob in bucket.list_blobs(max_results=5, page_size=2)] == ["k0", "k1", "k2", "k3", "k4"]
    assert [blob.name for blob in bucket.list_blobs(start_offset="k2", end_offset="k5")] == ["k2", "k3", "k4"]
    assert [blob.name for blob in bucket.list_blobs(prefix="k6")] == ["k6"]
    with pytest.raises(exceptions.MethodNotImplemented):
        list(bucket.list_blobs(match_glob="k*"))


@pytest.mark.parametrize("page_size", [1, 2, None])
def test_a_delimiter_folds_folders(bucket: Any, page_size: int | None) -> None:
    for name in ("a", "a/1", "a/2", "b/c/1", "b/d", "c"):
        bucket.blob(name).upload_from_string(b"")
    listing = bucket.list_blobs(delimiter="/", page_size=page_size)
    assert [blob.name for blob in listing] == ["a", "c"]
    assert listing.prefixes == {"a/", "b/"}
    inner = bucket.list_blobs(delimiter="/", prefix="b/", page_size=page_size)
    assert ([blob.name for blob in inner], inner.prefixes) == (["b/d"], {"b/c/"})


# Objects made of objects


def test_compose_joins_what_it_was_told_to(bucket: Any) -> None:
    parts = [bucket.blob(f"part/{number}") for number in range(3)]
    for number, part in enumerate(parts):
        part.upload_from_string(b"%d" % number * 5, content_type="text/plain")
    whole = bucket.blob("whole")
    whole.metadata = {"made": "of parts"}
    whole.compose(parts, if_generation_match=0, if_source_generation_match=[part.generation for part in parts])
    assert bucket.blob("whole").download_as_bytes() == b"000001111122222"
    assert (whole.content_type, whole.crc32c) == ("text/plain", crc32c_base64(b"000001111122222"))
    for wrong in ({"if_generation_match": 0}, {"if_source_generation_match": [1, 1, 1]}):
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("whole").compose(parts, **wrong)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("whole").compose([bucket.blob("absent")])


def test_copies_keep_the_description_unless_told_otherwise(client: Any, bucket: Any) -> None:
    other = client.create_bucket("b-copies")
    blob = bucket.blob("a/x")
    blob.metadata = {"k": "v"}
    blob.upload_from_string(b"data", content_type="text/plain")
    copied = bucket.copy_blob(blob, other, "b/y", if_generation_match=0)
    assert (copied.metadata, copied.content_type, copied.crc32c) == ({"k": "v"}, "text/plain", blob.crc32c)
    target = other.blob("rewritten")
    assert target.rewrite(blob) == (None, 4, 4)
    assert other.get_blob("rewritten").metadata == {"k": "v"}
    relabelled = other.blob("relabelled")
    relabelled.content_type = "audio/wav"
    relabelled.rewrite(blob)
    assert (other.get_blob("relabelled").content_type, other.get_blob("relabelled").metadata) == ("audio/wav", None)
    bucket.rename_blob(blob, "a/z")
    assert [found.name for found in bucket.list_blobs()] == ["a/z"]
    assert other.blob("b/y").download_as_bytes() == b"data"
    with pytest.raises(exceptions.NotFound):
        bucket.copy_blob(bucket.blob("absent"), other)


def test_a_batch_carries_many_requests(client: Any, bucket: Any) -> None:
    for name in ("a b/1", "2", "keep"):
        bucket.blob(name).upload_from_string(b"")
    with client.batch():
        kept = bucket.blob("keep")
        kept.metadata = {"by": "batch"}
        kept.patch()
        bucket.delete_blob("a b/1")
        bucket.delete_blob("2")
    assert [(blob.name, blob.metadata) for blob in bucket.list_blobs()] == [("keep", {"by": "batch"})]

    def delete_both() -> None:
        with client.batch():
            bucket.delete_blob("absent")
            bucket.delete_blob("keep")

    with pytest.raises(exceptions.NotFound):
        delete_both()
    assert list(bucket.list_blobs()) == []


def test_the_transfer_manager_works(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    for number in range(4):
        (tmp_path / "up" / f"{number}").write_bytes(b"%d" % number * 1000)
    names = [f"{number}" for number in range(4)]
    threads = {"worker_type": transfer_manager.THREAD, "raise_exception": True}
    transfer_manager.upload_many_from_filenames(bucket, names, source_directory=str(tmp_path / "up"), **threads)
    transfer_manager.download_many_to_path(bucket, names, destination_directory=str(tmp_path / "down"), create_directories=True, **threads)
    assert [(tmp_path / "down" / name).read_bytes() for name in names] == [name.encode() * 1000 for name in names]
    bucket.blob("big").upload_from_string(b"0123456789" * 100_000)
    target = str(tmp_path / "big")
    transfer_manager.download_chunks_concurrently(bucket.blob("big"), target, chunk_size=300_000, worker_type=transfer_manager.THREAD)
    assert Path(target).read_bytes() == b"0123456789" * 100_000


# The server


def test_what_was_stored_outlives_the_server(tmp_path: Path) -> None:
    server = GcsServer(tmp_path).start()
    client = connect(server)
    bucket = client.create_bucket("b-kept")
    blob = bucket.blob("a/x")
    blob.metadata = {"k": "v"}
    blob.upload_from_string(b"data", content_type="text/plain")
    url = server.url
    server.close()
    with pytest.raises(exceptions.RetryError):
        blob.reload(retry=DEFAULT_RETRY.with_delay(0.01).with_timeout(0.02))
    server.start()
    assert server.url == url
    found = bucket.get_blob("a/x")
    assert (found.generation, found.metadata, found.download_as_bytes()) == (blob.generation, {"k": "v"}, b"data")
    bucket.blob("a/x").upload_from_string(b"more", if_generation_match=blob.generation)
    client.close()
    server.close()
    server.close()


def test_two_servers_of_one_folder_agree_on_the_winner(server: GcsServer, tmp_path: Path) -> None:
    with GcsServer(tmp_path) as first, GcsServer(tmp_path) as second:
        clients = [connect(first), connect(second)]
        clients[0].create_bucket("b-shared")

        def create(number: int) -> int | None:
            try:
                clients[number % 2].bucket("b-shared").blob("x").upload_from_string(b"%d" % number, if_generation_match=0)
            except exceptions.PreconditionFailed:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(create, range(40)) if number is not None]
        assert [int(client.bucket("b-shared").blob("x").download_as_bytes()) for client in clients] == winners * 2
        for client in clients:
            client.close()
