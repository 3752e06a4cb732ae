/** What this node shows the CA to be let in, made anew for each attempt. */
import { createPrivateKey, hash, type KeyObject, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AttestRequest } from '#ca/proto/gen/ca.ts'
import type { TrustDomain } from '#ca/spiffe/index.ts'
import { derFromPem, readCertificate } from '#ca/x509/index.ts'
import { AgentError } from '../error.ts'

/** By what a node proves itself. Files are read at each attempt: whoever renews them need not tell us. */
export type NodeProof =
  /** Good for one attempt that succeeds. */
  | { readonly kind: 'join-token'; readonly token: string }
  /** A token of a service account, as Kubernetes projects it into a pod. */
  | { readonly kind: 'kubernetes'; readonly tokenFile: string }
  /** A certificate of the machine and its key, PEM; the chain follows the certificate. */
  | { readonly kind: 'certificate'; readonly chainFile: string; readonly keyFile: string }

/** The part of a request that proves the node. */
export type NodeEvidence = Pick<AttestRequest, 'joinToken' | 'kubernetesToken' | 'certificate'>

export interface EvidenceInput {
  readonly trustDomain: TrustDomain
  /** PKCS#10, DER: the request that the evidence goes with. */
  readonly csr: Uint8Array
  /** Asks the CA what to sign. */
  readonly challenge: () => Promise<Uint8Array>
  readonly now: Temporal.Instant
}

const NONE: NodeEvidence = { joinToken: '', kubernetesToken: '', certificate: undefined }

/** @throws {AgentError} `AGENT_PROOF_UNREADABLE` if a file cannot be read, holds something else, or what has ended */
export async function evidenceOf(
  proof: NodeProof,
  { trustDomain, csr, challenge: ask, now }: EvidenceInput,
): Promise<NodeEvidence> {
  switch (proof.kind) {
    case 'join-token':
      return { ...NONE, joinToken: proof.token }
    case 'kubernetes':
      return {
        ...NONE,
        kubernetesToken: current(proof.tokenFile, await tokenIn(proof), tokenEnd, now),
      }
    case 'certificate': {
      const chain = current(proof.chainFile, await chainIn(proof), chainEnd, now)
      const key = await parsed(proof.keyFile, (text) => createPrivateKey(text))
      const challenge = await ask()
      const signature = signed(key, proofText(trustDomain, challenge, csr))
      return {
        ...NONE,
        certificate: {
          chain: chain.map((der) => Buffer.from(der)),
          challenge: Buffer.from(challenge),
          signature,
        },
      }
    }
    default:
      return proof satisfies never
  }
}

/**
 * When a proof ends, read anew; `undefined`: it does not say.
 *
 * @throws {AgentError} `AGENT_PROOF_UNREADABLE`
 */
export async function proofEnd(proof: NodeProof): Promise<Temporal.Instant | undefined> {
  switch (proof.kind) {
    case 'join-token':
      return undefined
    case 'kubernetes':
      return tokenEnd(await tokenIn(proof))
    case 'certificate':
      return chainEnd(await chainIn(proof))
    default:
      return proof satisfies never
  }
}

/** What has ended is not sent: the CA could say no more than that it refuses it. */
function current<T>(
  file: string,
  value: T,
  endOf: (value: T) => Temporal.Instant | undefined,
  now: Temporal.Instant,
): T {
  const end = endOf(value)
  if (!end || Temporal.Instant.compare(now, end) < 0) return value
  throw unreadable(file, `it ended at ${end}, and nobody has renewed it`)
}

async function tokenIn({ tokenFile }: Extract<NodeProof, { kind: 'kubernetes' }>): Promise<string> {
  return (await read(tokenFile)).trim()
}

async function chainIn({
  chainFile,
}: Extract<NodeProof, { kind: 'certificate' }>): Promise<readonly Uint8Array[]> {
  return parsed(chainFile, (text) => {
    const chain = derFromPem('CERTIFICATE', text)
    chainEnd(chain)
    return chain
  })
}

/** `exp` of a token; the CA's to judge is all else. */
function tokenEnd(token: string): Temporal.Instant | undefined {
  const [, payload = ''] = token.split('.')
  try {
    const { exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { exp?: unknown }
    return Temporal.Instant.fromEpochMilliseconds(Math.floor(Number(exp)) * 1000)
  } catch {
    return undefined // not a JWT, or one that does not say
  }
}

function chainEnd([leaf]: readonly Uint8Array[]): Temporal.Instant | undefined {
  return leaf && readCertificate(leaf).notAfter
}

/** What the CA wants signed (`CertificateProof` of ca.proto). */
function proofText(trustDomain: TrustDomain, challenge: Uint8Array, csr: Uint8Array): Uint8Array {
  const head = Buffer.from(`redoubt attestation by certificate\n${trustDomain}\n`)
  return Buffer.concat([head, challenge, hash('sha256', csr, 'buffer')])
}

function signed(key: KeyObject, text: Uint8Array): Buffer {
  return sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', text, key)
}

async function parsed<T>(file: string, parse: (text: string) => T): Promise<T> {
  const text = await read(file)
  try {
    return parse(text)
  } catch (cause) {
    throw unreadable(file, (cause as Error).message, cause)
  }
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw unreadable(file, code === 'ENOENT' ? 'it is not there' : message, cause)
  }
}

function unreadable(file: string, why: string, cause?: unknown): AgentError {
  return new AgentError('AGENT_PROOF_UNREADABLE', `Cannot prove this node by ${file}: ${why}`, {
    cause,
  })
}
