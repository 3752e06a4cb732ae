/**
 * A door into the mesh: one port that strangers connect to. What comes is decided on as at a sidecar's inbound
 * side, and what is let through is routed as at its outbound side.
 */
import type { Socket } from 'node:net'
import type { Live } from '#core/live.ts'
import type { Log } from '#core/log.ts'
import type { GatewayServer } from '#policy/model/index.ts'
import { readClientHello } from '../capture/client-hello.ts'
import { MAX_INBOUND_PEEK } from '../capture/detect-inbound.ts'
import { listen, type Listener } from '../capture/listen.ts'
import { peek } from '../capture/peek.ts'
import type { GatewayListener } from '../config.ts'
import { InboundRequests } from '../inbound/forward.ts'
import { type InboundDeps, noteAnswers } from '../inbound/inbound.ts'
import { rulesOfPort } from '../inbound/inbound-port.ts'
import { plaintextPeer } from '../inbound/peer.ts'
import type { OutboundDeps } from '../outbound/requests.ts'
import { type CompiledGateway, type CompiledServer, NOWHERE } from './compile.ts'
import { EdgeRequests } from './edge-requests.ts'
import { RoutedRequests } from './routed-requests.ts'
import { createTerminator } from './terminate.ts'

export interface GatewayDeps extends InboundDeps {
  readonly gateway: Live<CompiledGateway | undefined>
  /** Where relative paths of files start; '' is the working directory. */
  readonly folder: string
  /** How requests go on into the mesh. */
  readonly outbound: Omit<OutboundDeps, 'find' | 'onConnect' | 'allowsAny'>
}

/** Milliseconds for a client to say anything at all (istio-semantics §7.4). */
const FIRST_BYTES_MS = 15_000

/** What a connection began with; `sni`: the name it asked for, '' for none. */
interface Heard {
  readonly kind: 'tls' | 'plaintext' | 'nothing'
  readonly sni: string
}

const PLAINTEXT: Heard = { kind: 'plaintext', sni: '' }
const NOTHING: Heard = { kind: 'nothing', sni: '' }

function readServerName(bytes: Buffer): Heard | 'need-more' {
  const hello = readClientHello(bytes)
  if (hello === 'need-more') return hello
  return hello === 'not-tls' ? NOTHING : { kind: 'tls', sni: hello.sni?.toLowerCase() ?? '' }
}

/** The server whose host is the most specific for `name`; the one in plaintext has no other beside it. */
export function pickServer(
  servers: readonly CompiledServer[],
  name: string,
): CompiledServer | undefined {
  if (servers[0]?.server.tls === undefined) return servers[0]
  const meant = servers.flatMap((server) => {
    const host = server.answersTo(name)
    return host === undefined ? [] : [{ server, isExact: host === name, length: host.length }]
  })
  meant.sort((a, b) => Number(b.isExact) - Number(a.isExact) || b.length - a.length)
  return meant[0]?.server
}

/** A connection that has got in, and where its requests go. */
interface Door {
  readonly outbound: OutboundDeps
  readonly sni: string | undefined
  readonly isSecure: boolean
  readonly head: Buffer
}

interface OpenServer {
  /** `head`: what has been read of it. */
  readonly take: (socket: Socket, head: Buffer) => void
}

/** Servers by name, each opened at its first connection and anew when its TLS is another. */
function openServers(deps: {
  readonly nowMs: () => number
  readonly log: Log
  readonly folder: string
  readonly routesOf: (name: string) => OutboundDeps
  readonly serve: (socket: Socket, door: Door) => void
}): (server: CompiledServer) => OpenServer {
  const known = new Map<string, { readonly terms: string; readonly open: OpenServer }>()
  return ({ server }) => {
    const terms = JSON.stringify(server.tls ?? null)
    const before = known.get(server.name)
    if (before?.terms === terms) return before.open
    const open = openServer(server, deps)
    known.set(server.name, { terms, open })
    return open
  }
}

function openServer(
  server: GatewayServer,
  { routesOf, serve, ...deps }: Parameters<typeof openServers>[0],
): OpenServer {
  const outbound = routesOf(server.name)
  const { tls } = server
  if (tls === undefined) {
    return {
      take: (socket, head) => serve(socket, { outbound, sni: undefined, isSecure: false, head }),
    }
  }
  const terminate = createTerminator(server, tls, {
    ...deps,
    onSecure(socket) {
      const sni =
        typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined
      serve(socket, { outbound, sni, isSecure: true, head: Buffer.alloc(0) })
    },
  })
  return {
    take(socket, head) {
      // What happens to it meanwhile is told by 'close', which the handshake sees.
      socket.on('error', () => {})
      socket.unshift(head)
      void terminate(socket)
    },
  }
}

/** Opens one port of a gateway. */
export function listenGateway(
  { port, listen: address }: GatewayListener,
  deps: GatewayDeps,
): Promise<Listener> {
  const { connections, wheel, random, nowMs, telemetry, gateway } = deps
  const rules = rulesOfPort(port, deps.configuration)
  const requests = {
    upstream: { host: '', cluster: '' },
    rules,
    random,
    nowMs,
    telemetry,
    ask: deps.ask,
    onAnswer: noteAnswers(deps),
  }
  const serversOf = (): readonly CompiledServer[] => gateway.current?.listeners.get(port) ?? []
  /** What one server routes by, whichever version of it is in force. */
  const routesOf = (name: string): OutboundDeps => ({
    ...deps.outbound,
    find(host) {
      return following(() => {
        const server = serversOf().find((one) => one.server.name === name)
        return server?.destinationOf(host) ?? NOWHERE
      })
    },
    allowsAny: () => false,
    // The inbound half refuses it.
    onConnect: (connection) => connection.breakOff(),
  })
  const open = openServers({ ...deps, routesOf, serve })

  function serve(socket: Socket, { outbound, sni, isSecure, head }: Door): void {
    const options = { own: deps.svid.current.id, port, telemetry, sni }
    const peer = { ...plaintextPeer(socket, options), isSecure }
    const { sourceIp } = peer.connection
    connections.serve(
      socket,
      (connection) => {
        const app = new RoutedRequests(outbound, connection)
        const inner = new InboundRequests({ ...requests, app }, peer, connection)
        const edge = { sourceIp, scheme: isSecure ? 'https' : 'http', random } as const
        return new EdgeRequests(edge, connection, inner)
      },
      head,
    )
  }

  function accept(socket: Socket): void {
    const [first] = serversOf()
    if (rules() === undefined || first === undefined) return void socket.destroy()
    const heard = connections.accept(socket)
    const isSecure = first.server.tls !== undefined
    peek<Heard>(socket, {
      wheel,
      timeoutMs: FIRST_BYTES_MS,
      maxBytes: MAX_INBOUND_PEEK,
      detect: isSecure ? readServerName : () => PLAINTEXT,
      otherwise: NOTHING,
      onDetected(said, head) {
        heard()
        const meant = said.kind === 'nothing' ? undefined : pickServer(serversOf(), said.sni)
        if (meant === undefined) return void socket.destroy()
        open(meant).take(socket, head)
      },
    })
  }

  return listen(address, accept)
}

/** What `read` gives now; nobody waits for it, since a request comes only where there is some. */
function following<T>(read: () => T): Live<T> {
  return {
    get current() {
      return read()
    },
    async *changes() {
      yield read()
    },
  }
}
