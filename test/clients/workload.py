"""What a Python service does with its identity, by `spiffe` as it is published. Last line: PASS."""

import sys

from spiffe import JwtBundleSet, WorkloadApiClient, X509Source

address, expected = sys.argv[1], sys.argv[2]

with WorkloadApiClient(socket_path=address) as client:
    svid = client.fetch_x509_svid()
    assert str(svid.spiffe_id) == expected, svid.spiffe_id
    bundles = client.fetch_x509_bundles()
    assert bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain).x509_authorities
    token = client.fetch_jwt_svid(audience={"db"})
    assert str(token.spiffe_id) == expected, token.spiffe_id
    keys: JwtBundleSet = client.fetch_jwt_bundles()
    assert keys.get_bundle_for_trust_domain(token.spiffe_id.trust_domain).jwt_authorities
    judged = client.validate_jwt_svid(token=token.token, audience="db")
    assert str(judged.spiffe_id) == expected, judged.spiffe_id
    try:
        client.validate_jwt_svid(token=token.token, audience="cache")
    except Exception as refusal:
        print("other audience refused:", type(refusal).__name__)
    else:
        raise AssertionError("a token for another audience was accepted")

with X509Source(socket_path=address) as source:
    assert str(source.svid.spiffe_id) == expected
print("PASS")
