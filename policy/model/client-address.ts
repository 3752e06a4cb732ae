import { readAddress } from './address.ts'

/**
 * What `remoteIpBlocks` compares (§0.8.19): a sidecar believes the last entry of the last
 * `X-Forwarded-For` line that says anything, whoever sent it. An entry that is no address (`1.2.3.4:80`, nothing after a
 * comma) leaves the connection's own.
 */
export function clientAddress(forwardedFor: readonly string[], sourceIp: string): string {
  const last = forwardedFor
    .findLast((line) => line !== '')
    ?.split(',')
    .at(-1)
    ?.trim()
  return last !== undefined && readAddress(last) !== undefined ? last : sourceIp
}
