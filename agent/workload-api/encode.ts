/**
 * An `X509SVIDResponse` on the wire, written into memory of its size. A general writer asks for three times as
 * much and more than once, and what is the same for every workload of a bundle would be encoded for each.
 */
import type { TrustBundle } from '#ca/x509/index.ts'
import { X509SVID, X509SVIDResponse } from '../proto/gen/workload.ts'
import type { WorkloadIdentity } from '../svid/watch-identity.ts'
import { federatedOf } from './to-proto.ts'

/** Fields of bytes: those of `X509SVID`, and the one of `X509SVIDResponse` that holds it. */
const FIELD = { spiffeId: 0x0a, chain: 0x12, key: 0x1a, svid: 0x0a } as const

/** The whole state of one workload: one SVID, which is its default identity. */
export function encodeIdentity({ svid, bundle }: WorkloadIdentity): Buffer {
  const { own, federated } = encodedBundle(bundle)
  const { id, chain, keyDer } = svid
  let chainBytes = 0
  for (const der of chain) chainBytes += der.length
  const inner = sizeOf(id.length) + sizeOf(chainBytes) + sizeOf(keyDer.length) + own.length
  // Of its own, not a part of a pool: it holds a key.
  const out = Buffer.allocUnsafeSlow(sizeOf(inner) + federated.length)
  let at = writeHead(out, 0, FIELD.svid, inner)
  at = writeHead(out, at, FIELD.spiffeId, id.length)
  at += out.write(id, at, 'latin1') // a SPIFFE ID is ASCII
  at = writeHead(out, at, FIELD.chain, chainBytes)
  for (const der of chain) at = put(out, at, der)
  at = put(out, writeHead(out, at, FIELD.key, keyDer.length), keyDer)
  put(out, put(out, at, own), federated)
  return out
}

interface EncodedBundle {
  /** The field `bundle` of `X509SVID`. */
  readonly own: Uint8Array
  /** The field `federated_bundles` of `X509SVIDResponse`. */
  readonly federated: Uint8Array
}

const ENCODED = new WeakMap<TrustBundle, EncodedBundle>()

function encodedBundle(bundle: TrustBundle): EncodedBundle {
  const known = ENCODED.get(bundle)
  if (known) return known
  const nothing = Buffer.alloc(0)
  const roots = Buffer.concat(bundle.roots)
  const svid = { spiffeId: '', x509Svid: nothing, x509SvidKey: nothing, bundle: roots, hint: '' }
  const rest = { svids: [], crl: [], federatedBundles: federatedOf(bundle) }
  const own = X509SVID.encode(svid).finish()
  const encoded = { own, federated: X509SVIDResponse.encode(rest).finish() }
  ENCODED.set(bundle, encoded)
  return encoded
}

/** Bytes of a field with so many in it. */
function sizeOf(length: number): number {
  let size = 2 + length
  for (let left = length >>> 7; left > 0; left >>>= 7) size += 1
  return size
}

/** A field's tag, and its length as protobuf has it: seven bits a byte, the lowest first. */
function writeHead(out: Buffer, at: number, tag: number, length: number): number {
  out[at++] = tag
  let left = length
  for (; left >= 0x80; left >>>= 7) out[at++] = (left & 0x7f) | 0x80
  out[at++] = left
  return at
}

function put(out: Buffer, at: number, bytes: Uint8Array): number {
  out.set(bytes, at)
  return at + bytes.length
}
