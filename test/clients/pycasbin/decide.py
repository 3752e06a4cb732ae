"""What `redoubt authz export` prints, loaded by pycasbin as it is published: a decision for each attempt.

The three matcher functions are policy/casbin/MATCHERS.md, and nothing else.
Reads {"cases": [{"export": …, "attempts": […]}]} and prints a JSON list of lists of decisions.
"""

import ipaddress
import json
import re
import sys

import casbin
from casbin.model import Model

PATH_CHARS = r"A-Za-z0-9\-._~%!$&'()*+,;:@="


def text(written, value, present=lambda value: value != ""):
    if written == "*":
        return present(value)
    if written.startswith("*"):
        return value.endswith(written[1:])
    if written.endswith("*"):
        return value.startswith(written[:-1])
    return value == written


def glob(pattern, value, star=".*"):
    parts = [re.escape(part) for part in pattern.split("*")]
    return re.fullmatch(star.join(parts), value, re.S) is not None


def template(written, value):
    pieces = re.split(r"(\{\*\*?\})", written)
    kinds = {"{*}": f"[{PATH_CHARS}]+", "{**}": f"[{PATH_CHARS}/]*"}
    return re.fullmatch("".join(kinds.get(one, re.escape(one)) for one in pieces), value) is not None


def block(written, value, socket):
    try:
        address = ipaddress.ip_address(value.split("%")[0])
        network = ipaddress.ip_network(written, strict=False)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if socket and address.version == 6 else None
    address = mapped or address
    return address.version == network.version and address in network


def service_account(written, peer):
    namespace, _, account = written.partition("/")
    parts = peer.split("/")
    for at in range(1, len(parts) - 1):
        if parts[at] == "ns" and parts[at + 1] == namespace:
            rest = range(at + 2, len(parts) - 1)
            return any(parts[n] == "sa" and parts[n + 1] == account for n in rest)
    return False


def claim(http, path):
    value = http.get("claims") if http else None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def request_principal(written, http):
    issuers, subjects = claim(http, ["iss"]), claim(http, ["sub"])
    left, slash, right = written.rpartition("/")
    given = lambda values: any(value != "" for value in values)
    some = lambda values, test: any(test(value) for value in values)
    if written == "*":
        return given(issuers) and given(subjects)
    if written.startswith("*") and slash:
        return some(issuers, lambda one: text(left, one)) and right in subjects
    if written.startswith("*"):
        return given(issuers) and some(subjects, lambda one: text(written, one))
    if written.endswith("*") and slash:
        start = right[:-1]
        begins = given(subjects) if start == "" else some(subjects, lambda one: one.startswith(start))
        return left in issuers and begins
    if written.endswith("*"):
        return some(issuers, lambda one: text(written, one)) and given(subjects)
    issuer, subject = (left, right) if slash else (written, "")
    return issuer in issuers and subject in subjects


ANY = lambda value: True


def of_peer(test):
    return lambda written, attempt: attempt["peer"] is not None and test(written, attempt["peer"])


def of_http(name, test):
    def meets(written, attempt):
        http = attempt["http"]
        return http is not None and http.get(name) is not None and test(written, http[name])

    return meets


def trust_domain(written, peer):
    return glob(written, peer[len("spiffe://") :].split("/")[0])


def remote(written, attempt):
    http = attempt["http"]
    return block(written, http["remoteIp"], False) if http else block(written, attempt["sourceIp"], True)


HOST = of_http("host", lambda written, host: text(written.lower(), host.lower(), ANY))
METHOD = of_http("method", text)
PORT = lambda written, attempt: int(written) == attempt["destinationPort"]
PRINCIPAL = of_peer(lambda written, peer: text(written, peer[len("spiffe://") :]))
NAMESPACE = of_peer(lambda written, peer: glob(f"*/ns/{written}/*", peer))
ACCOUNT = of_peer(service_account)
DOMAIN = of_peer(trust_domain)
SOURCE = lambda written, attempt: block(written, attempt["sourceIp"], True)
REQUEST_PRINCIPAL = lambda written, attempt: request_principal(written, attempt["http"])
PATH = of_http(
    "path",
    lambda written, path: template(written, path) if re.search(r"\{\*\*?\}", written) else text(written, path),
)
FIELDS = {
    "principals": PRINCIPAL,
    "namespaces": NAMESPACE,
    "serviceAccounts": ACCOUNT,
    "trustDomains": DOMAIN,
    "ipBlocks": SOURCE,
    "remoteIpBlocks": remote,
    "requestPrincipals": REQUEST_PRINCIPAL,
    "hosts": HOST,
    "ports": PORT,
    "methods": METHOD,
    "paths": PATH,
}


def of_claim(path):
    return lambda written, attempt: any(text(written, one) for one in claim(attempt["http"], path))


def of_header(name):
    if name == ":method":
        return METHOD
    if name in ("host", ":authority"):
        return of_http("host", lambda written, host: text(written, host, ANY))

    def meets(written, attempt):
        lines = (attempt["http"] or {}).get("headers", {}).get(name, [])
        return any(text(written, line, ANY) for line in lines)

    return meets


KEYS = {
    "source.ip": SOURCE,
    "remote.ip": remote,
    "source.namespace": NAMESPACE,
    "source.serviceAccount": ACCOUNT,
    "source.principal": PRINCIPAL,
    "source.trustDomain": DOMAIN,
    "request.auth.principal": REQUEST_PRINCIPAL,
    "request.auth.audiences": of_claim(["aud"]),
    "request.auth.presenter": of_claim(["azp"]),
    "destination.ip": lambda written, attempt: block(written, attempt["destinationIp"], True),
    "destination.port": PORT,
    "connection.sni": lambda written, attempt: text(written, attempt["sni"] or ""),
}


def of_key(key):
    header = re.fullmatch(r"request\.headers\[(.+)\]", key, re.S)
    if header:
        return of_header(header[1].lower())
    claims = re.fullmatch(r"request\.auth\.claims((?:\[[^\]]*\])+)", key)
    if claims:
        return of_claim(claims[1][1:-1].split("]["))
    return KEYS.get(key, lambda written, attempt: False)


def holds(fields, attempt):
    for name, values in fields.items():
        negated = name not in FIELDS
        field = FIELDS[name[3].lower() + name[4:] if negated else name]
        if any(field(written, attempt) for written in values) == negated:
            return False
    return True


def condition(entry, attempt):
    field = of_key(entry["key"])
    meets = lambda values: any(field(written, attempt) for written in values)
    return ("values" not in entry or meets(entry["values"])) and not meets(entry.get("notValues", []))


def from_matches(attempt, column):
    return column == "*" or holds(json.loads(column), attempt)


def to_matches(attempt, column):
    return column == "*" or any(holds(one, attempt) for one in json.loads(column))


def when_matches(attempt, column):
    return column == "*" or all(condition(one, attempt) for one in json.loads(column))


def enforcer(models, group):
    model = Model()
    model.load_model_from_text(models[group["action"]])
    made = casbin.Enforcer(model)
    made.add_function("fromMatches", from_matches)
    made.add_function("toMatches", to_matches)
    made.add_function("whenMatches", when_matches)
    for line in group["lines"]:
        made.model.add_policy("p", "p", list(line))
    return made


def decide(chains, attempt):
    asked = []
    for group, made in chains["http" if attempt["http"] else "tcp"]:
        matches = bool(group["lines"]) and made.enforce(attempt)
        if group["action"] == "CUSTOM" and matches:
            asked.append(group["provider"])
        if group["action"] == "DENY" and matches:
            return [*asked, "deny"]
        if group["action"] == "ALLOW":
            return [*asked, "allow" if matches else "deny"]


def main():
    answers = []
    for case in json.load(sys.stdin)["cases"]:
        exported = case["export"]
        chains = {
            chain: [(group, enforcer(exported["models"], group)) for group in groups if group["use"] == "enforce"]
            for chain, groups in exported["chains"].items()
        }
        answers.append([decide(chains, attempt) for attempt in case["attempts"]])
    print(json.dumps(answers))


main()
