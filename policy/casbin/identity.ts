import type { SpiffeId } from '#ca/spiffe/index.ts'
import { compileGlob, compileText, type TextTest } from './text.ts'

/** Answers for a peer; `undefined` is a plaintext peer and meets nothing (§1.4). */
export type PeerTest = (peer: SpiffeId | undefined) => boolean

const SCHEME = 'spiffe://'

/** `principals`: the general rule on the identity without its scheme. */
export function compilePrincipal(written: string): PeerTest {
  const matches = compileText(written)
  return (peer) => peer !== undefined && matches(peer.slice(SCHEME.length))
}

/** `namespaces`: `*` stands for any text, anywhere. */
export function compileNamespace(written: string): PeerTest {
  return ofPeer(compileGlob(`*/ns/${written}/*`))
}

/** `serviceAccounts`, in the form `namespace/account`; further path segments may stand before `sa` and after the account. */
export function compileServiceAccount(written: string): PeerTest {
  const [namespace = '', account = ''] = written.split('/')
  return (peer) => {
    const segments = peer?.split('/') ?? []
    const at = segments.findIndex(
      (part, n) => n > 0 && part === 'ns' && segments[n + 1] === namespace,
    )
    if (at === -1) return false
    return segments.some((part, n) => n >= at + 2 && part === 'sa' && segments[n + 1] === account)
  }
}

/** `trustDomains`: exact, or a glob (a trust domain has no slash that it could cross). */
export function compileTrustDomain(written: string): PeerTest {
  const matches = compileGlob(written)
  return (peer) => peer !== undefined && matches(trustDomainText(peer))
}

function ofPeer(matches: TextTest): PeerTest {
  return (peer) => peer !== undefined && matches(peer)
}

function trustDomainText(peer: SpiffeId): string {
  const end = peer.indexOf('/', SCHEME.length)
  return peer.slice(SCHEME.length, end === -1 ? undefined : end)
}
