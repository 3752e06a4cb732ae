/** A request of a class, as the command that asks for it. */
import type { CheckQuery, TokenKind } from '#policy/index.ts'

/** `--to … --from …`: what to give `redoubt authz check` with the manifests to ask for exactly this request. */
function witnessFlags(query: CheckQuery): string {
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

/** The command that asks for an example, with what no flag can say of its token. */
export function witnessCommand(query: CheckQuery, token: TokenKind | undefined): string {
  const command = `redoubt authz check ${witnessFlags(query)}`
  if (token?.signed === undefined) return command
  const { issuer = 'an issuer whose keys are known' } = token.signed
  return `${command}  # its claims are those of a token of ${issuer}: where none takes it, ask without`
}

function quoted(value: string): string {
  return /^[\w./:@%+,=-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`
}
