import type { ProxyErrorCode } from '../error.ts'
import type { HopFailure } from './hop.ts'

const CODES: Readonly<Record<HopFailure['kind'], ProxyErrorCode>> = {
  connect: 'PROXY_UPSTREAM_UNAVAILABLE',
  untrusted: 'PROXY_UPSTREAM_UNTRUSTED',
  overflow: 'PROXY_OVERLOADED',
  reset: 'PROXY_UPSTREAM_RESET',
  protocol: 'PROXY_UPSTREAM_PROTOCOL',
  closed: 'PROXY_UPSTREAM_UNAVAILABLE',
}

/** The failure of a hop as the code that is answered, logged and counted. */
export function codeOfFailure({ kind }: HopFailure): ProxyErrorCode {
  return CODES[kind]
}
