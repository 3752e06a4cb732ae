/** A request of a class, as the command that asks for it. */
import type { CheckQuery } from '#policy/index.ts'

/** `--to … --from …`: what to give `redoubt authz check` with the manifests to ask for exactly this request. */
export function witnessFlags(query: CheckQuery): string {
  const { to, from, protocol, claims, headers = {} } = query
  const lines = Object.entries(headers).flatMap(([name, values]) =>
    values.map((value) => `${name}=${value}`),
  )
  const flags: readonly (readonly [string, string | undefined])[] = [
    ['to', `${to.namespace}/${to.name}:${to.port}`],
    ['from', from ?? 'none'],
    ['protocol', protocol === 'tcp' ? protocol : undefined],
    ['method', query.method],
    ['path', query.path],
    ['host', query.host],
    ...lines.map((line) => ['header', line] as const),
    ['claims', claims === undefined ? undefined : JSON.stringify(claims)],
    ['source-ip', query.sourceIp],
    ['remote-ip', query.remoteIp],
    ['dest-ip', query.destinationIp],
    ['sni', query.sni],
  ]
  return flags
    .flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${quoted(value)}`]))
    .join(' ')
}

function quoted(value: string): string {
  return /^[\w./:@%+,=-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`
}
