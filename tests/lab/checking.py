"""A gate before moto that lets a question pass only where its presigned signature is right, as S3 does.

    checking.py MOTO_PORT REGION KEY SECRET [TOKEN]

It listens on a port of 127.0.0.1, which is its first line, and ends with its input, or after LIMIT_S. What was signed is
made anew from what came: path and query are decoded and encoded again, host and headers are taken as they arrived, and
botocore says what the signature must be. In a host BUCKET.s3.test stands a bucket; with any other host it is in the path.
What is refused, and why, is told on stderr. Its clock is CHECKING_AHEAD_S seconds fast, or slow.
"""
import calendar, http.client, os, re, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote_plus, unquote_to_bytes
from xml.sax.saxutils import escape
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

LIMIT_S, DOMAIN, AHEAD_S = 1800, ".s3.test", int(os.environ.get("CHECKING_AHEAD_S", 0))
NEEDED = {"Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"}
MOTO, REGION, KEY, SECRET, TOKEN = (*sys.argv[1:], None)[:5]

def why_not(method, target, headers):
    """What S3 refuses a question with: a status, a code and a message; nothing where it is signed as it must be."""
    path, _, query = target.partition("?")
    pairs = [tuple(map(unquote_plus, it.partition("=")[::2])) for it in query.split("&") if it]
    said = {name[6:]: value for name, value in pairs if name.startswith("X-Amz-")}
    malformed, denied = (400, "AuthorizationQueryParametersError"), (403, "AccessDenied")
    if "transfer-encoding" in headers:
        return 411, "MissingContentLength", "You must provide the Content-Length HTTP header."
    if "authorization" in headers:
        return 400, "InvalidArgument", "Only one auth mechanism allowed"
    if not NEEDED <= said.keys() or said["Algorithm"] != "AWS4-HMAC-SHA256":
        return *(malformed if said else denied), f"It needs {NEEDED}, and AWS4-HMAC-SHA256"
    key, *scope = said["Credential"].split("/")
    if scope != [said["Date"][:8], REGION, "s3", "aws4_request"]:
        return *malformed, f"Error parsing the X-Amz-Credential parameter: {scope}; expecting '{REGION}'"
    if key != KEY or (TOKEN and "Security-Token" not in said):
        return 403, "InvalidAccessKeyId", "The key does not exist in our records."
    if said.get("Security-Token") != TOKEN:
        return 400, "InvalidToken", "The provided token is malformed or otherwise invalid."
    age = time.time() + AHEAD_S - calendar.timegm(time.strptime(said["Date"], "%Y%m%dT%H%M%SZ"))
    if not -900 < age <= int(said["Expires"]):
        return *denied, "Request has expired" if age > 0 else "Request is not yet valid"
    signed = said["SignedHeaders"].split(";")
    if left := [it for it in map(str.lower, headers) if it[:6] in ("host", "x-amz-") and it not in signed]:
        return *denied, f"There were headers present in the request which were not signed: {left}"
    # S3 encodes the key that it understood, once, in its own way: whoever signs another way is refused
    request = AWSRequest(method, "http://host" + quote(unquote_to_bytes(path), safe="/-_.~"))
    request.params = [it for it in pairs if it[0] != "X-Amz-Signature"]
    request.context["timestamp"] = said["Date"]
    for name in signed:
        request.headers[name] = ",".join(headers.get_all(name, []))
    signer = S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", REGION)
    canonical = signer.canonical_request(request)
    if said["Signature"] != signer.signature(signer.string_to_sign(request, canonical), request):
        return 403, "SignatureDoesNotMatch", f"It is not the signature of this:\n{canonical}"

class Gate(BaseHTTPRequestHandler):
    protocol_version, log_message = "HTTP/1.1", lambda *_: None

    def answer(self):
        # not self.path, in which the slashes that it begins with have become one
        target = self.requestline.split(" ")[1]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if refused := why_not(self.command, target, self.headers):
            status, code, why = refused
            print(f"{self.command} {target}: {status} {code}: {why}", file=sys.stderr, flush=True)
            body = f"<Error><Code>{code}</Code><Message>{escape(why)}</Message></Error>".encode()
            headers = [("content-type", "application/xml"), ("date", self.date_time_string(time.time() + AHEAD_S))]
        else:
            status, headers, body = self.pass_on(target, body)
        self.send_response_only(status)
        for name, value in [*headers, ("connection", "close"), *[("content-length", len(body))] * (body != b"")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def pass_on(self, target, body):
        bucket, is_host, _ = self.headers["host"].rpartition(DOMAIN)
        target = re.sub(r"(continuation-token=[^&]*)%2B%2F%3D", r"\1", f"/{bucket}{target}" if is_host else target)
        moto = http.client.HTTPConnection("127.0.0.1", int(MOTO), timeout=60)
        moto.putrequest(self.command, target, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("host", "connection", "expect"):
                moto.putheader(name, value)
        moto.endheaders(body)
        got = moto.getresponse()
        # S3's own tokens have such marks, moto's have none
        body = got.read().replace(b"</NextContinuationToken>", b"+/=</NextContinuationToken>")
        own = ("connection", "transfer-encoding", *["content-length"] * (body != b""))
        return got.status, [it for it in got.getheaders() if it[0].lower() not in own], body

    do_GET = do_HEAD = do_PUT = do_DELETE = answer

signal.alarm(LIMIT_S)
gate = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
threading.Thread(target=gate.serve_forever, daemon=True).start()
print(gate.server_port, flush=True)
sys.stdin.read()
