"""How the hot-path client speaks HTTP: whole answers, no reuse of what may be dead, real TLS."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from milepost_engine.adapters.aws.sockets import Connections, HttpAnswer, NotAnswered, NotConnected
from milepost_engine.adapters.clock import WoundClock

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Two: a:b\r\n\r\n"
    b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nTrailer: z\r\n\r\n"
)


class Origin:
    """A server that answers each request on a connection with the next of these bytes; b"" hangs up."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if self.answers else OK
                writer.write(answer)
                if not answer or b"Connection: close" in answer or b"HTTP/1.0" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    origin = Origin(*answers)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    origin.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    yield origin
    server.close()
    for writer in origin.connections:
        writer.close()
    await asyncio.sleep(0)


@pytest.fixture
async def connections(clock: WoundClock) -> AsyncIterator[Connections]:
    connections = Connections(clock, limit=4, ca_bundle=None)
    yield connections
    await connections.close()


async def post(connections: Connections, origin: Origin, body: bytes = b"{}", seconds: float = 5) -> HttpAnswer:
    return await connections.request(origin.url, "/path", {"X-A": "b"}, body, answer_seconds=seconds)


async def test_a_request_is_written_whole_and_its_answer_read_whole(connections: Connections) -> None:
    async with serving(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX-Some: Thing\r\n\r\nsorry") as origin:
        answer = await post(connections, origin, b"x" * 3_000_000)
    assert answer == HttpAnswer(404, {"content-length": "5", "x-some": "Thing"}, b"sorry")
    host = origin.url.removeprefix("http://").encode()
    head = b"POST /path HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 3000000\r\nX-A: b\r\n\r\n"
    assert origin.requests == [head + b"x" * 3_000_000]


async def test_answers_in_chunks_are_read_and_the_connection_kept(connections: Connections) -> None:
    async with serving(CHUNKED, CHUNKED) as origin:
        for _ in range(2):
            answer = await post(connections, origin)
            assert (answer.status, answer.body, answer.headers["x-two"]) == (200, b"hello world", "a:b")
        assert len(origin.connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
    ids=["given", "by_end_of_file"],
)
async def test_a_connection_that_the_other_side_closes_is_not_used_again(
    connections: Connections, answer: bytes
) -> None:
    async with serving(answer) as origin:
        assert (await post(connections, origin)).body == b"ok"
        assert (await post(connections, origin)).body == b"ok"
        assert len(origin.connections) == 2


async def test_a_connection_that_died_while_resting_is_noticed_before_it_is_used(connections: Connections) -> None:
    async with serving() as origin:
        await post(connections, origin)
        origin.connections[0].transport.abort()
        await asyncio.sleep(0)
        await post(connections, origin)
        assert len(origin.connections) == 2


async def test_calls_at_once_have_connections_of_their_own_up_to_the_limit(connections: Connections) -> None:
    async with serving() as origin:
        await asyncio.gather(*(post(connections, origin) for _ in range(20)))
        assert len(origin.requests) == 20
        assert len(origin.connections) <= 4


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nConnec",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**21 + b"\r\n\r\n",
    ],
    ids=["none", "short", "cut", "other_protocol", "bad_chunk", "endless_head"],
)
async def test_half_an_answer_is_none(connections: Connections, answer: bytes) -> None:
    async with serving(answer, b"") as origin:
        with pytest.raises(NotAnswered):
            await post(connections, origin, seconds=0.3)
        origin.answers.clear()
        assert (await post(connections, origin)).body == b"ok"


async def test_the_answer_to_a_cancelled_call_never_meets_another(connections: Connections) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfir") as origin:
        first = asyncio.create_task(post(connections, origin))
        while not origin.requests:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0)
        first.cancel()
        assert (await post(connections, origin)).body == b"ok"
        assert first.cancelled()
        assert len(origin.connections) == 2


def test_another_event_loop_starts_with_an_empty_pool(clock: WoundClock) -> None:
    connections = Connections(clock, limit=1, ca_bundle=None)

    async def once() -> None:
        async with serving() as origin:
            await post(connections, origin)
            await connections.close()

    asyncio.run(once())
    asyncio.run(once())


async def test_tls_is_spoken_and_the_certificate_checked(tmp_path: Path, clock: WoundClock) -> None:
    certificate, tls = _certificate(tmp_path)
    trusting = Connections(clock, limit=1, ca_bundle=str(certificate))
    doubting = Connections(clock, limit=1, ca_bundle=None)
    async with serving(tls=tls) as origin:
        assert (await post(trusting, origin)).body == b"ok"
        assert (await post(trusting, origin)).body == b"ok"
        assert len(origin.connections) == 1
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await post(doubting, origin)
        await trusting.close()


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "cert.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path.write_bytes(key.private_bytes(*encoding))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path, key_path)
    return path, tls
