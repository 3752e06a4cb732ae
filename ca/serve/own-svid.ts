import { generateKeyPairSync } from 'node:crypto'

import type { Log } from '#core/log.ts'
import type { Denials } from '../issue/denials.ts'
import { recordSvids, type SvidSigner, signSvid } from '../issue/issue-svid.ts'
import type { Ledger } from '../issue/ledger.ts'
import type { SpiffeId } from '../spiffe/index.ts'
import { type Life, pemFromDer } from '../x509/index.ts'
import type { TlsIdentity } from './listen-tls.ts'

/** The certificate that the CA's own listener shows. */
export interface OwnSvid {
  readonly identity: TlsIdentity
  readonly life: Life
  /** Lower-case hex: of the CA that issued it. */
  readonly issuerSerial: string
  readonly serial: string
}

/** Issues the CA's server certificate, with a new key, by the same path as any other leaf. */
export async function issueOwnSvid(deps: {
  readonly serverId: SpiffeId
  readonly serverNames: readonly string[]
  readonly ttl: Temporal.Duration
  readonly ledger: Ledger
  readonly now: () => Temporal.Instant
  readonly signer: () => SvidSigner
}): Promise<OwnSvid> {
  const { serverId: spiffeId, serverNames: dnsNames, ttl, ledger, now, signer } = deps
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' })
  const svid = await signSvid(signer(), { spiffeId, dnsNames, publicKeyDer, ttl }, now())
  await recordSvids(ledger, [svid], spiffeId)
  return {
    identity: {
      chainPem: pemFromDer('CERTIFICATE', svid.chain),
      keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    },
    life: { issuedAt: svid.issuedAt, notAfter: svid.notAfter },
    issuerSerial: svid.issuerSerial,
    serial: svid.serial,
  }
}

/** Replaces the certificate at once when its serial is denied, until disposed: nobody would hear us with it. */
export function replaceDenied(deps: {
  readonly denials: Pick<Denials, 'list' | 'denies'>
  readonly own: () => OwnSvid | undefined
  readonly now: () => Temporal.Instant
  readonly log: Log
  readonly renew: () => Promise<void>
}): Disposable {
  const { denials, own, now, log, renew } = deps
  const ended = new AbortController()
  const follow = async (): Promise<void> => {
    for await (const _ of denials.list.changes(ended.signal)) {
      const { serial } = own() ?? {}
      if (!serial || !denials.denies()?.('serial', serial, now())) continue
      await renew().catch((cause: unknown) => {
        log('error', 'ca-renewal-failed', { detail: String(cause) }) // and renewal in time goes on
      })
    }
  }
  void follow()
  return { [Symbol.dispose]: () => ended.abort() }
}
