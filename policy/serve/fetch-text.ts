/**
 * Fetches a small text for the policy server, from a place that an operator has named. What may be
 * reached is judged on the address that is dialled, after each redirect too, so that no name that
 * points elsewhere later gets past it (CVE-2026-41413).
 */
import { lookup, type LookupAddress } from 'node:dns'
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import { PolicyError } from '../error.ts'
import { blockHas, readBlock, readSocketAddress } from '../model/address.ts'
import type { JwksFetching } from '../model/intent.ts'

/** Bytes beyond which an answer is given up. */
const MAX_BYTES = 1024 * 1024
const MAX_REDIRECTS = 3

const blocksOf = (written: readonly string[]) => written.flatMap((one) => readBlock(one) ?? [])

/** This host's own neighbourhood, where clouds keep credentials, and what is no host at all. */
const NEVER = blocksOf([
  '169.254.0.0/16',
  'fe80::/10',
  '100.100.100.200',
  'fd00:ec2::254',
  '0.0.0.0/8',
  '::',
  '224.0.0.0/3',
  'ff00::/8',
  // IPv4 by another name: a translator would reach any of the above.
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '2002::/16',
])

/** This host and networks of one's own, the cluster's among them (RFC 6890): only where they are allowed. */
const PRIVATE = blocksOf([
  '127.0.0.0/8',
  '::1',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '198.18.0.0/15',
  'fc00::/7',
])

/**
 * Whether a text may be fetched from `address`: never from link-local or metadata addresses, and from
 * private ones where `allowed` says so.
 *
 * @param allowed - CIDR blocks or addresses
 */
export function mayFetchFrom(address: string, allowed: readonly string[]): boolean {
  const bytes = readSocketAddress(address)
  if (bytes === undefined || NEVER.some((block) => blockHas(block, bytes))) return false
  const isPrivate = PRIVATE.some((block) => blockHas(block, bytes))
  return !isPrivate || blocksOf(allowed).some((block) => blockHas(block, bytes))
}

/**
 * The body at `uri`, UTF-8. Certificates are verified by the platform's roots and those of `from`.
 *
 * @throws {PolicyError} `POLICY_FETCH_FAILED`
 */
export async function fetchText(
  uri: string,
  from: JwksFetching,
  signal: AbortSignal,
): Promise<string> {
  let at = parseUri(uri, uri)
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const answer = await send(at, from, signal)
    const { statusCode = 0, headers } = answer
    if (statusCode === 200) return readBody(answer, uri)
    answer.destroy()
    const { location } = headers
    if (statusCode < 301 || statusCode > 308 || location === undefined) {
      throw failed(uri, `the answer has status ${statusCode}, expected 200`)
    }
    const next = parseUri(new URL(location, at).href, uri)
    if (at.protocol === 'https:' && next.protocol !== 'https:') {
      throw failed(uri, 'it redirects from https to http')
    }
    at = next
  }
  throw failed(uri, `it redirects more than ${MAX_REDIRECTS} times`)
}

function parseUri(text: string, uri: string): URL {
  const parsed = URL.parse(text)
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    throw failed(uri, `${JSON.stringify(text)} is no http or https URL`)
  }
  return parsed
}

function send(
  url: URL,
  { allowedCidrs: allowed, caCertificates }: JwksFetching,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) => reject(failed(url.href, reasonOf(cause), cause))
    if (isIP(host) !== 0 && !mayFetchFrom(host, allowed)) return fail(new Error(refusal(host)))
    const request = url.protocol === 'https:' ? requestHttps : requestHttp
    const sent = request(url, {
      agent: false,
      ...(caCertificates && { ca: [...getCACertificates('default'), caCertificates] }),
      lookup: guardedLookup(allowed),
      signal,
      headers: { accept: 'application/json', 'user-agent': 'redoubt' },
    })
    sent.on('response', resolve)
    sent.on('error', fail)
    sent.end()
  })
}

/** Of a chain that leads to no root here; OpenSSL names each way in which it can (verify(1)). */
const UNTRUSTED = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/

function reasonOf({ message, code = '' }: NodeJS.ErrnoException): string {
  return UNTRUSTED.test(code)
    ? 'its certificate is not trusted: add the authority that signed it to jwks.caCertificates of Mesh'
    : message
}

/** A name is taken only when every address of it may be reached. */
function guardedLookup(allowed: readonly string[]): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { ...options, all: true }, (cause, addresses: readonly LookupAddress[]) => {
      const wrong = cause
        ? undefined
        : addresses.find(({ address }) => !mayFetchFrom(address, allowed))
      const [first] = addresses ?? []
      if (cause) done(cause, '')
      else if (wrong !== undefined || first === undefined) {
        done(new Error(refusal(wrong?.address ?? hostname)), '')
      } else if (options.all) done(null, [...addresses])
      else done(null, first.address, first.family)
    })
  }
}

function refusal(address: string): string {
  const bytes = readSocketAddress(address)
  const isPrivate = bytes !== undefined && PRIVATE.some((block) => blockHas(block, bytes))
  const hint = isPrivate ? ' unless jwks.allowedCidrs of Mesh has it' : ''
  return `${address} is an address that nothing is fetched from${hint}`
}

async function readBody(answer: IncomingMessage, uri: string): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) {
      bytes += piece.length
      if (bytes > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`)
      pieces.push(piece)
    }
    return Buffer.concat(pieces).toString('utf8')
  } catch (cause) {
    answer.destroy()
    throw failed(uri, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

function failed(uri: string, why: string, cause?: unknown): PolicyError {
  const message = `Cannot fetch ${JSON.stringify(uri)}: ${why}`
  return new PolicyError('POLICY_FETCH_FAILED', message, { cause })
}
