/** Names of stream resources (design.md §2). */

/** Characters; a longer name is refused before anything else is done with it. */
export const MAX_NAME_LENGTH = 400

export type ResourceName =
  | {
      readonly kind: 'inbound' | 'gateway'
      readonly namespace: string
      readonly workload: string
    }
  | { readonly kind: 'destination'; readonly host: string; readonly port: number }

/** What `name` asks for, or `undefined` when it is no name of a resource. */
export function parseResourceName(name: string): ResourceName | undefined {
  if (name.length > MAX_NAME_LENGTH) return undefined
  const owned = /^(inbound|gateway)\/([^/]+)\/([^/]+)$/.exec(name)
  if (owned) {
    const [, kind, namespace = '', workload = ''] = owned
    return { kind: kind === 'inbound' ? kind : 'gateway', namespace, workload }
  }
  const destination = /^destination\/([^/\s]+):(\d{1,5})$/.exec(name)
  const [, host = '', digits] = destination ?? []
  const port = Number(digits)
  return host !== '' && port >= 1 && port <= 65535 ? { kind: 'destination', host, port } : undefined
}
