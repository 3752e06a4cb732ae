/** Fetching a bundle from an endpoint, by the rules of its profile (SPIFFE Federation §5). */
import { request } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'

import type { Clock } from '#core/clock.ts'
import { CaError } from '../error.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { peerChain, type TrustBundle, verifySvid } from '../x509/index.ts'
import { MAX_DOCUMENT_LENGTH } from './document.ts'

/** By what the server of an endpoint is believed. */
export type EndpointJudge =
  /** The Web PKI: a certificate for the name or address in the URL. */
  | {
      readonly kind: 'https_web'
      /** PEM of the authorities; left out: those of Node. */
      readonly roots?: string | undefined
    }
  /** An SVID with exactly this ID. */
  | {
      readonly kind: 'https_spiffe'
      readonly endpointId: SpiffeId
      readonly bundle: TrustBundle
    }

export interface FetchDeps {
  readonly now: () => Temporal.Instant
  readonly clock: Clock
}

/** Places that one fetch goes to: the URL, and redirects after it. */
const MAX_PLACES = 4

/** Elapsed milliseconds for all of it. */
const FETCH_MS = 10_000

/** What one place answered. */
type Answer =
  | { readonly kind: 'body'; readonly text: string }
  | { readonly kind: 'redirect'; readonly location: string }

/**
 * The text at `url`. Redirects are followed under the same rules and never remembered.
 *
 * @throws {CaError} `CA_FEDERATION_INVALID` with what was wrong
 */
export async function fetchBundle(
  url: string,
  judge: EndpointJudge,
  deps: FetchDeps,
  signal: AbortSignal,
): Promise<string> {
  const ended = new AbortController()
  const late = deps.clock.sleep(FETCH_MS, AbortSignal.any([signal, ended.signal])).then(
    () => ended.abort(refused(url, `it did not answer within ${FETCH_MS} ms`)),
    () => undefined, // answered before
  )
  const either = AbortSignal.any([signal, ended.signal])
  try {
    let place = url
    for (let places = 1; places <= MAX_PLACES; places += 1) {
      const answer = await ask(endpointUrl(place), judge, deps, either)
      if (answer.kind === 'body') return answer.text
      place = new URL(answer.location, place).href
    }
    throw refused(url, `it redirects more than ${MAX_PLACES - 1} times`)
  } catch (cause) {
    signal.throwIfAborted()
    if (ended.signal.aborted) throw ended.signal.reason
    throw cause instanceof CaError ? cause : refused(url, (cause as Error).message, cause)
  } finally {
    ended.abort()
    await late
  }
}

/** The URL of an endpoint. @throws {CaError} `CA_FEDERATION_INVALID` unless it is https without user information */
export function endpointUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:') throw refused(text, 'its scheme is not https')
  if (url.username !== '' || url.password !== '') throw refused(text, 'it has user information')
  return url
}

async function ask(
  url: URL,
  judge: EndpointJudge,
  deps: FetchDeps,
  signal: AbortSignal,
): Promise<Answer> {
  const socket = await dial(url, judge, deps, signal)
  try {
    return await get(url, socket, signal)
  } finally {
    socket.destroy()
  }
}

/** A connection whose server was judged: nothing is said to it before. */
function dial(
  url: URL,
  judge: EndpointJudge,
  { now }: FetchDeps,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const isAddress = /^[\d.]+$|:/.test(host)
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port: url.port === '' ? 443 : Number(url.port),
      ...(isAddress ? {} : { servername: host }),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      ...(judge.kind === 'https_web'
        ? judge.roots === undefined
          ? {}
          : { ca: judge.roots }
        : { rejectUnauthorized: false, checkServerIdentity: () => undefined }),
    })
    const fail = (cause: unknown): void => {
      socket.destroy()
      reject(cause as Error)
    }
    const abort = (): void => fail(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    socket.once('close', () => signal.removeEventListener('abort', abort))
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      const why = judge.kind === 'https_spiffe' ? judged(socket, judge, now()) : undefined
      if (why === undefined) resolve(socket)
      else fail(refused(url.href, why))
    })
    if (signal.aborted) abort()
  })
}

function judged(
  socket: TLSSocket,
  { endpointId, bundle }: Extract<EndpointJudge, { kind: 'https_spiffe' }>,
  now: Temporal.Instant,
): string | undefined {
  const verdict = verifySvid(peerChain(socket), [bundle], now, 'server')
  if (verdict.kind === 'refused') return `its server: ${verdict.reason}: ${verdict.detail}`
  return verdict.id === endpointId
    ? undefined
    : `its server is "${verdict.id}", expected "${endpointId}"`
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

function get(url: URL, socket: TLSSocket, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        createConnection: () => socket,
        path: `${url.pathname}${url.search}`,
        headers: { host: url.host, accept: 'application/json', connection: 'close' },
        signal,
      },
      (response) => {
        const { statusCode = 0, headers } = response
        if (REDIRECTS.has(statusCode) && headers.location !== undefined) {
          response.destroy()
          return resolve({ kind: 'redirect', location: headers.location })
        }
        if (statusCode !== 200) {
          response.destroy()
          return reject(refused(url.href, `it answered ${statusCode}`))
        }
        const parts: Buffer[] = []
        let length = 0
        response.on('data', (part: Buffer) => {
          parts.push(part)
          length += part.length
          if (length > MAX_DOCUMENT_LENGTH) {
            response.destroy(refused(url.href, `it has more than ${MAX_DOCUMENT_LENGTH} bytes`))
          }
        })
        response.on('error', reject)
        response.on('end', () => {
          try {
            const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
            resolve({ kind: 'body', text })
          } catch (cause) {
            reject(refused(url.href, 'it is not UTF-8', cause))
          }
        })
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}

function refused(url: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_FEDERATION_INVALID', `Cannot fetch the bundle at ${url}: ${why}`, {
    cause,
  })
}
