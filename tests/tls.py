"""A TLS port before a plain one, and certificates for it.

    with Front(service.endpoint, certificate(folder)) as front: front.endpoint       # https://127.0.0.1:…
    certificate(folder, authority=True)     # as `openssl req -x509` makes one by default: it is its own authority
"""
from __future__ import annotations
import contextlib, shutil, socket, ssl, subprocess, threading
from pathlib import Path
from urllib.parse import urlsplit

def certificate(folder: Path, authority: bool = False, name: str = '127.0.0.1') -> Path:
    "A file with a key and a certificate of its own"
    assert shutil.which('openssl'), 'apt-get install openssl'
    found = Path(folder)/f'{name}-{authority}.pem'
    key, cert = found.with_suffix('.key'), found.with_suffix('.crt')
    names = f'subjectAltName={"IP" if name[0].isdigit() else "DNS"}:{name}'
    no_authority = [] if authority else ['-addext', 'basicConstraints=critical,CA:FALSE']
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-keyout', key, '-out',
                    cert, '-subj', f'/CN={name}', '-addext', names, *no_authority],
                   check=True, capture_output=True)
    found.write_text(key.read_text() + cert.read_text())
    return found

class Front:
    "A TLS port that passes on what it is sent"
    def __init__(self, to: str, cert: Path, port: int = 0):
        self.to, self.context = (urlsplit(to).hostname, urlsplit(to).port), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert)
        self.socket = socket.create_server(('127.0.0.1', port))
        self.port = self.socket.getsockname()[1]
        self.endpoint = f'https://127.0.0.1:{self.port}'
    def __enter__(self) -> Front:
        threading.Thread(target=self._accept, daemon=True).start()
        return self
    def __exit__(self, *error) -> None:
        with contextlib.suppress(OSError): self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True: threading.Thread(target=self._serve, args=self.socket.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with self.context.wrap_socket(client,
                                          server_side=True) as inner, socket.create_connection(self.to) as outer:
                threading.Thread(target=_pass_on, args=(outer, inner), daemon=True).start()
                _pass_on(inner, outer)

def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(2**16): to.sendall(data)
        to.shutdown(socket.SHUT_WR)
