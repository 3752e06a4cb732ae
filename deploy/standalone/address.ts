import { DeployError } from '../error.ts'

/** Splits `host:port`, with an IPv6 host in brackets. @throws {DeployError} `DEPLOY_USAGE` */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    throw new DeployError(
      'DEPLOY_USAGE',
      `Cannot read the address ${JSON.stringify(text)}: expected host:port with a port of 0 to 65535`,
    )
  }
  return { host, port }
}

/** `host:port`, with an IPv6 host in brackets. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
