/** What a started app finds in its environment (design.md §2). Pure. */
export interface AppEnvironment {
  /** In the manifest's order; the first one is `PORT`. */
  readonly ports: readonly { readonly name: string; readonly port: number }[]
  /** By workload port: the real port that it shall listen on. */
  readonly real: Readonly<Record<string, number>>
  /** `host:port` of its sidecar's outbound listener; left out: it has no sidecar. */
  readonly outbound?: string
  /** From the manifest; wins over everything. */
  readonly own: Readonly<Record<string, string>>
  /** Of the supervisor. */
  readonly inherited: Readonly<Record<string, string | undefined>>
}

/** Set by npm for its own scripts, or by us for ourselves: no business of an app. */
const OURS = /^(npm_|NODE_CHANNEL_|REDOUBT_)|^(INIT_CWD|NODE_OPTIONS|NODE_COMPILE_CACHE)$/

/** The whole environment of an app. */
export function appEnvironment(facts: AppEnvironment): Readonly<Record<string, string>> {
  const { ports, real, outbound, own, inherited } = facts
  const kept = Object.entries(inherited).flatMap(([name, value]) =>
    value === undefined || OURS.test(name) ? [] : [[name, value] as const],
  )
  const first = ports[0] && real[ports[0].port]
  const named = ports.flatMap(({ name, port }) =>
    name === '' || real[port] === undefined
      ? []
      : [[`PORT_${name.toUpperCase().replaceAll('-', '_')}`, String(real[port])] as const],
  )
  return {
    ...Object.fromEntries(kept),
    ...(first === undefined ? {} : { PORT: String(first) }),
    ...Object.fromEntries(named),
    ...(outbound === undefined ? {} : proxyEnvironment(outbound)),
    ...own,
  }
}

function proxyEnvironment(outbound: string): Readonly<Record<string, string>> {
  return {
    http_proxy: `http://${outbound}`,
    HTTP_PROXY: `http://${outbound}`,
    ALL_PROXY: `socks5h://${outbound}`,
    no_proxy: 'localhost,127.0.0.1,::1',
    REDOUBT_OUTBOUND: outbound,
  }
}
