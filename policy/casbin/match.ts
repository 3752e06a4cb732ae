/**
 * The functions that the matchers of `*.conf` call, compiled from the texts of a line's columns.
 *
 * Each test says what it reads, so that a connection can be narrowed by what is known at its accept
 * and an answer can be kept by just the attributes that led to it.
 */
import {
  blockHas,
  type Condition,
  type HttpAttributes,
  type Operation,
  readAddress,
  readBlock,
  readSocketAddress,
  type Source,
} from '../model/index.ts'
import { type ClaimsTest, compileClaim, compileRequestPrincipal } from './claim.ts'
import { anyOf, not, type Reads, type Test } from './constraint.ts'
import { isMapKey, readClaimPath, readHeaderName } from './condition-key.ts'
import {
  compileNamespace,
  compilePrincipal,
  compileServiceAccount,
  compileTrustDomain,
  type PeerTest,
} from './identity.ts'
import { compileTemplate, isTemplate } from './template.ts'
import { compileText, type TextTest } from './text.ts'

type CompileValue = (written: string) => Test

/** One test for each field that is set; all must be met. */
export function compileSource(source: Source): readonly Test[] {
  return [
    ...compileField(source.principals, source.notPrincipals, ofPeer(compilePrincipal)),
    ...compileField(source.namespaces, source.notNamespaces, ofPeer(compileNamespace)),
    ...compileField(
      source.serviceAccounts,
      source.notServiceAccounts,
      ofPeer(compileServiceAccount),
    ),
    ...compileField(source.trustDomains, source.notTrustDomains, ofPeer(compileTrustDomain)),
    ...compileField(source.ipBlocks, source.notIpBlocks, sourceBlock),
    ...compileField(source.remoteIpBlocks, source.notRemoteIpBlocks, remoteBlock),
    ...compileField(source.requestPrincipals, source.notRequestPrincipals, requestPrincipal),
  ]
}

/** As {@link compileSource}. */
export function compileOperation(operation: Operation): readonly Test[] {
  return [
    ...compileField(operation.ports, operation.notPorts, port),
    ...compileField(operation.methods, operation.notMethods, method),
    ...compileField(operation.hosts, operation.notHosts, host),
    ...compileField(operation.paths, operation.notPaths, path),
  ]
}

/** As {@link compileSource}: one test for `values`, one for `notValues`. */
export function compileCondition({ key, values, notValues }: Condition): readonly Test[] {
  return compileField(values, notValues, conditionOf(key))
}

function compileField(
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
  compile: CompileValue,
): readonly Test[] {
  const tests: Test[] = []
  if (values !== undefined) tests.push(anyOf(values.map(compile)))
  if (notValues !== undefined) tests.push(not(anyOf(notValues.map(compile))))
  return tests
}

const PEER: readonly Reads[] = [{ of: 'connection', name: 'peer' }]
const SOURCE_IP: readonly Reads[] = [{ of: 'connection', name: 'sourceIp' }]
const DESTINATION_IP: readonly Reads[] = [{ of: 'connection', name: 'destinationIp' }]
const PORT: readonly Reads[] = [{ of: 'connection', name: 'destinationPort' }]
const SNI: readonly Reads[] = [{ of: 'connection', name: 'sni' }]
const REMOTE_IP: readonly Reads[] = [{ of: 'request', name: 'remoteIp' }]
const METHOD: readonly Reads[] = [{ of: 'request', name: 'method' }]
const HOST: readonly Reads[] = [{ of: 'request', name: 'host' }]
const PATH: readonly Reads[] = [{ of: 'request', name: 'path' }]
const ISS_AND_SUB: readonly Reads[] = [
  { of: 'claim', path: ['iss'] },
  { of: 'claim', path: ['sub'] },
]

function ofPeer(compile: (written: string) => PeerTest): CompileValue {
  return (written) => {
    const matches = compile(written)
    return { reads: PEER, meets: ({ connection }) => matches(connection.peer) }
  }
}

function sourceBlock(written: string): Test {
  const has = compileBlock(written, readSocketAddress)
  return { reads: SOURCE_IP, meets: ({ connection }) => has(connection.sourceIp) }
}

function destinationBlock(written: string): Test {
  const has = compileBlock(written, readSocketAddress)
  return { reads: DESTINATION_IP, meets: ({ connection }) => has(connection.destinationIp) }
}

/** Without HTTP there is no header to say otherwise: the address is the connection's own. */
function remoteBlock(written: string): Test {
  const has = compileBlock(written, readAddress)
  const hasSource = compileBlock(written, readSocketAddress)
  return {
    reads: REMOTE_IP,
    meets: ({ connection, http }) =>
      http === undefined ? hasSource(connection.sourceIp) : has(http.remoteIp),
  }
}

function compileBlock(written: string, read: typeof readAddress): TextTest {
  const block = readBlock(written)
  return (address) => block !== undefined && blockHas(block, read(address))
}

function requestPrincipal(written: string): Test {
  const matches = compileRequestPrincipal(written)
  return { reads: ISS_AND_SUB, meets: ({ http }) => matches(http?.claims) }
}

function port(written: string): Test {
  const wanted = Number(written)
  return { reads: PORT, meets: ({ connection }) => connection.destinationPort === wanted }
}

function method(written: string): Test {
  const matches = compileText(written)
  return { reads: METHOD, meets: ({ http }) => http !== undefined && matches(http.method) }
}

/** As sent, port included; letters of either case are one (CVE-2021-39155). */
function host(written: string): Test {
  const matches = compileText(written.toLowerCase(), () => true)
  return {
    reads: HOST,
    meets: ({ http }) => http?.host !== undefined && matches(http.host.toLowerCase()),
  }
}

function path(written: string): Test {
  const matches = isTemplate(written) ? compileTemplate(written) : compileText(written)
  return { reads: PATH, meets: ({ http }) => http !== undefined && matches(http.path) }
}

function sni(written: string): Test {
  const matches = compileText(written)
  return { reads: SNI, meets: ({ connection }) => matches(connection.sni ?? '') }
}

/** Filter metadata, of which a sidecar of ours has none: nothing meets it. */
function metadata(): Test {
  return { reads: [], meets: () => false }
}

/** The keys of §1.7 that are not maps. */
const CONDITIONS: Readonly<Record<string, CompileValue>> = {
  'source.ip': sourceBlock,
  'remote.ip': remoteBlock,
  'source.namespace': ofPeer(compileNamespace),
  'source.serviceAccount': ofPeer(compileServiceAccount),
  'source.principal': ofPeer(compilePrincipal),
  'source.trustDomain': ofPeer(compileTrustDomain),
  'request.auth.principal': requestPrincipal,
  'request.auth.audiences': claim(['aud']),
  'request.auth.presenter': claim(['azp']),
  'destination.ip': destinationBlock,
  'destination.port': port,
  'connection.sni': sni,
}

/** Whether a `when` key is one of §1.7. */
export function isConditionKey(key: string): boolean {
  return Object.hasOwn(CONDITIONS, key) || isMapKey(key)
}

function conditionOf(key: string): CompileValue {
  const header = readHeaderName(key)
  if (header !== undefined) return headerNamed(header)
  const claimPath = readClaimPath(key)
  if (claimPath !== undefined) return claim(claimPath)
  return (Object.hasOwn(CONDITIONS, key) ? CONDITIONS[key] : undefined) ?? metadata
}

/** Each line is compared by itself, and one is enough (§0.8.17). */
function headerNamed(name: string): CompileValue {
  return (written) => {
    const matches = compileText(written, () => true)
    return {
      reads: [{ of: 'header', name }],
      meets: ({ http }) => http !== undefined && headerLines(http, name).some(matches),
    }
  }
}

/** The lines of a header. `host` and HTTP/2's `:authority` are one, as Envoy has it. */
export function headerLines(http: HttpAttributes, name: string): readonly string[] {
  if (name === ':method') return [http.method]
  if (name !== 'host' && name !== ':authority') return http.header(name)
  return http.host === undefined ? [] : [http.host]
}

function claim(claimPath: readonly string[]): CompileValue {
  return (written) => {
    const matches: ClaimsTest = compileClaim(claimPath, compileText(written))
    return { reads: [{ of: 'claim', path: claimPath }], meets: ({ http }) => matches(http?.claims) }
  }
}
