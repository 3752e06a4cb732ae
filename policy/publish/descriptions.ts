/**
 * A sentence for each field of our own kinds. Istio's fields are described by Istio.
 *
 * Paths are those of the manifest below `spec`; `[]` is any entry of a list or map.
 */
const OWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Mesh: {
    trustDomain: 'Trust domain of every identity of the mesh. Default cluster.local.',
    trustDomainAliases:
      'Other names of the trust domain: policies and peers of these are as its own.',
    rootNamespace: 'Policies in it apply to every namespace. Default istio-system.',
    certificates: 'How long certificates live.',
    'certificates.leafTtl': 'Of workload certificates. Default 1h.',
    'certificates.maxLeafTtl': 'Longest that anybody may ask for. Default 24h.',
    'certificates.caTtl':
      'Of the issuing authority, at least six times leafTtl and 30s. Default 2160h.',
    'certificates.rootTtl': 'Of the root, at least caTtl. Default 87600h.',
    certificateAuthority: 'Whose keys sign certificates, where they are, and whom the CA lets in.',
    'certificateAuthority.replicas':
      'CAs that run; agents move over by themselves when one ends. Default 1; more need ledger.store postgres.',
    'certificateAuthority.ledger': 'Where every certificate and administrative call is recorded.',
    'certificateAuthority.ledger.store':
      'sqlite, the default: a file of the state directory, for one CA alone; postgres: shared by all.',
    'certificateAuthority.ledger.url':
      'Of postgres: postgres://user@host:port/database, no password.',
    'certificateAuthority.ledger.password': 'Of that user. Default PGPASSWORD or PGPASSFILE.',
    'certificateAuthority.ledger.password.file': 'A file that holds it.',
    'certificateAuthority.ledger.password.env': 'A variable that holds it: REDOUBT_….',
    'certificateAuthority.ledger.passphrase':
      'Of postgres: encrypts the keys that CAs share through it; the same for all.',
    'certificateAuthority.ledger.passphrase.file': 'A file that holds it.',
    'certificateAuthority.ledger.passphrase.env': 'A variable that holds it: REDOUBT_….',
    'certificateAuthority.ledger.caFile':
      'Of postgres: PEM of who vouches for the server. Default the system’s roots.',
    'certificateAuthority.keys': 'Where the keys that the CA makes are kept. Default plain files.',
    'certificateAuthority.keys.store':
      'files of mode 0600; memory: another CA after each start; pkcs11: a token of an HSM.',
    'certificateAuthority.keys.passphrase': 'Encrypts files of keys.',
    'certificateAuthority.keys.passphrase.file': 'A file that holds it.',
    'certificateAuthority.keys.passphrase.env': 'A variable that holds it: REDOUBT_….',
    'certificateAuthority.keys.module': 'Of pkcs11: path of the shared library.',
    'certificateAuthority.keys.token': 'Of pkcs11: label of the token.',
    'certificateAuthority.keys.pin': 'Of pkcs11: the user’s PIN.',
    'certificateAuthority.keys.pin.file': 'A file that holds it.',
    'certificateAuthority.keys.pin.env': 'A variable that holds it: REDOUBT_….',
    'certificateAuthority.listen':
      'Where the CA is for agents of other machines, as host:port: 0.0.0.0:15012. Left out: a free port of this machine alone. Of several CAs the first.',
    'certificateAuthority.serverNames':
      'DNS names of the CA’s server certificate, for Istio’s agents: istiod.istio-system.svc.',
    'certificateAuthority.pluggedIn':
      'A directory in the layout of Istio’s cacerts; its CA signs, and is followed as it changes.',
    'certificateAuthority.kubernetes': 'A cluster whose service accounts are believed.',
    'certificateAuthority.kubernetes.kubeconfig': 'A file, or in-cluster.',
    'certificateAuthority.kubernetes.audiences':
      'What tokens must be for; Istio’s are for istio-ca.',
    'certificateAuthority.kubernetes.agents': 'Service accounts that are agents.',
    'certificateAuthority.kubernetes.agents[].namespace': 'Of the service account.',
    'certificateAuthority.kubernetes.agents[].serviceAccount': 'Its name.',
    'certificateAuthority.kubernetes.agents[].agentId': 'SPIFFE ID; {node} is the node’s name.',
    'certificateAuthority.kubernetes.agents[].scope':
      'IDs that it may ask for; /* at the end for all below; {node} too.',
    'certificateAuthority.machines': 'Machines whose certificates are believed.',
    'certificateAuthority.machines[].rootsFile': 'PEM of the authorities of their certificates.',
    'certificateAuthority.machines[].name': 'DNS or URI name; *. at the start for one label.',
    'certificateAuthority.machines[].agentId': 'SPIFFE ID; {name} is the DNS name.',
    'certificateAuthority.machines[].scope':
      'IDs that it may ask for; /* at the end for all below; {name} too.',
    federation: 'Other trust domains, by SPIFFE Federation.',
    'federation.endpoint': 'Where the bundle of this trust domain is served.',
    'federation.endpoint.listen': 'host:port.',
    'federation.endpoint.refreshHint': 'After which others look again. Default 300s.',
    'federation.endpoint.certificateFile':
      'PEM of a web certificate (https_web); without it the CA’s own SVID is shown (https_spiffe).',
    'federation.endpoint.keyFile': 'PEM of its key.',
    'federation.trustDomains': 'Those whose SVIDs are believed; removing one ends that at once.',
    'federation.trustDomains[].name': 'The trust domain.',
    'federation.trustDomains[].url': 'Of its bundle endpoint.',
    'federation.trustDomains[].profile': 'By what the endpoint is believed.',
    'federation.trustDomains[].rootsFile':
      'Of https_web: PEM of the authorities of its certificate. Default those of Node.',
    'federation.trustDomains[].endpointSpiffeId': 'Of https_spiffe: what its SVID must say.',
    'federation.trustDomains[].bootstrapFile':
      'Of https_spiffe: the bundle to begin with, SPIFFE’s JSON or PEM.',
    outboundTrafficPolicy: 'What happens to requests for hosts that no manifest names.',
    'outboundTrafficPolicy.mode':
      'ALLOW_ANY sends them on, REGISTRY_ONLY refuses. Default ALLOW_ANY.',
    pathNormalization: 'How paths are read before policies and routes see them.',
    'pathNormalization.normalization': 'Default BASE.',
    enableAutoMtls: 'Whether sidecars speak mutual TLS to each other unasked. Default true.',
    accessLogFile: '/dev/stdout: every request is logged; else refusals alone.',
    jwks: 'Where keys of RequestAuthentications are fetched from.',
    'jwks.caCertificates':
      'PEM: authorities of identity providers with certificates of their own, beside the roots of the platform.',
    'jwks.allowedCidrs':
      'Private addresses that may be asked, beside all public ones. Default loopback.',
    connectTimeout: 'For connections whose DestinationRule names none. Default 10s.',
    defaultHttpRetryPolicy: 'Retries of routes that name none.',
    extensionProviders: 'Who can be asked by AuthorizationPolicies with action CUSTOM.',
    enableMultipleCustomAuthzProviders:
      'Whether policies of one workload may ask several providers. Default false.',
  },
  CasbinPolicy: {
    model: 'The Casbin model.',
    'model.inline': 'Its text.',
    'model.configMap': 'Where its text is.',
    'model.configMap.name': 'Of a ConfigMap in the same namespace.',
    'model.configMap.key': 'The key whose text it is.',
    policy: 'The lines that the model judges by.',
    'policy.inline': 'As Casbin’s CSV.',
    'policy.configMap': 'Where they are, as CSV.',
    'policy.configMap.name': 'Of a ConfigMap in the same namespace.',
    'policy.configMap.key': 'The key whose text they are.',
    'policy.postgres': 'A database that the policy server reads; no sidecar holds its password.',
    'policy.postgres.host': 'Name or address.',
    'policy.postgres.port': 'Default 5432.',
    'policy.postgres.database': 'Its name.',
    'policy.postgres.user': 'Needs to read the table, and nothing else.',
    'policy.postgres.table': 'Table, or schema.table. Default casbin_rule.',
    'policy.postgres.passwordFrom': 'Where the password is. Default none.',
    'policy.postgres.passwordFrom.secret': 'A Secret in the same namespace.',
    'policy.postgres.passwordFrom.secret.name': 'Its name.',
    'policy.postgres.passwordFrom.secret.key': 'The key whose value is the password.',
    'policy.postgres.passwordFrom.file': 'A file that the policy server reads.',
    'policy.postgres.tls': 'How the database is spoken to.',
    'policy.postgres.tls.mode': 'VERIFY its certificate, or DISABLE TLS. Default VERIFY.',
    'policy.postgres.tls.ca': 'PEM that vouches for the database. Default the system’s roots.',
    'policy.postgres.tls.ca.inline': 'The PEM itself.',
    'policy.postgres.tls.ca.configMap': 'Where the PEM is.',
    'policy.postgres.tls.ca.configMap.name': 'Of a ConfigMap in the same namespace.',
    'policy.postgres.tls.ca.configMap.key': 'The key whose text it is.',
    'policy.postgres.refresh': 'How often it is read again, at least 1s. Default 10s.',
    request: 'Attributes of the request, by the names in the model’s request definition.',
    limits: 'Bounds of one decision.',
    'limits.time': 'Longer is a refusal; at most 1s. Default 20ms.',
  },
  Workload: {
    serviceAccount: 'Whose identity it has. Default `default`.',
    ports: 'What it serves.',
    'ports[].name': 'Begins with the protocol, as names of Service ports do.',
    'ports[].port': 'The workload port: what policies and Services call it.',
    run: 'A process to start, watch and stop.',
    'run.command': 'Program and arguments.',
    'run.env': 'Added to the environment.',
    'run.cwd': 'Working directory. Default that of the manifest.',
    address: 'Where an app that runs already listens: host or host:port.',
    ready: 'When the app counts as up.',
    'ready.httpGet': 'It answers with a status from 200 to 399.',
    'ready.httpGet.path': 'Default /.',
    'ready.httpGet.port': 'Number or name. Default the first.',
    'ready.tcp': 'It accepts a connection.',
    'ready.tcp.port': 'Number or name. Default the first.',
    sourceAddress: 'The address of 127.0.0.0/8 that its sidecar connects from, for ipBlocks.',
    proxy: 'Fixed ports of its sidecar; free ones are chosen otherwise.',
    'proxy.outbound': 'Where the app sends what it wants to reach.',
    'proxy.inbound': 'By workload port, where peers connect.',
    'proxy.admin': 'The admin page, on loopback.',
    'proxy.metrics': 'Prometheus metrics, on loopback.',
    'proxy.readiness': 'Readiness, on loopback.',
  },
}

/** What to say of the field at `path` of `kind`. */
export function describe(kind: string, path: string): string | undefined {
  return OWN[kind]?.[path]
}

/** Fields of `kind` that have a sentence. */
export function describedFields(kind: string): readonly string[] {
  return Object.keys(OWN[kind] ?? {})
}
